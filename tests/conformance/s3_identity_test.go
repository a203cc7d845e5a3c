package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stowage/s3/identity"
)

// identities are the ways to credentials that end, each with the server that hands them out.
func identities(t *testing.T, ttl string) map[string][]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	noErr(t, os.WriteFile(file, []byte("web-identity-token"), 0o600))
	sts, container, imds := identity.NewSTS(), identity.NewContainer(), identity.NewIMDS()
	ask(t, sts.Control(), "PATCH", "/settings", `{"ttl_s": `+ttl+`}`, nil)
	ask(t, container.Control(), "PATCH", "/settings", `{"ttl_s": `+ttl+`}`, nil)
	ask(t, imds.Control(), "PATCH", "/settings", `{"ttl_s": `+ttl+`}`, nil)
	return map[string][]string{
		"web identity": {
			"AWS_WEB_IDENTITY_TOKEN_FILE=" + file,
			"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/stowage",
			"AWS_ENDPOINT_URL_STS=" + serveHere(t, sts, nil),
		},
		"container": {
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + serveHere(t, container, nil) + "/v1/credentials",
			"AWS_CONTAINER_AUTHORIZATION_TOKEN=container-token",
		},
		"instance": {
			"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + serveHere(t, imds, nil),
		},
	}
}

// alone is a home without any configuration of AWS's.
func alone(t *testing.T) string { return "HOME=" + t.TempDir() }

// stowage check says which provider has answered.
func TestS3CheckNamesProvider(t *testing.T) {
	for name, env := range identities(t, "3600") {
		name, env := name, env
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			cmd := exec.Command(os.Getenv("STOWAGE_BIN"), "check", "--format", "json", "--root", t.TempDir())
			cmd.Env = append(append(cleanEnvironment(), alone(t)), append(bucketEnvironment(b.url), env...)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var report struct {
				OK    bool
				Steps []struct{ Step, Result, Detail string }
			}
			noErr(t, json.Unmarshal(out, &report))
			if !report.OK {
				t.Errorf("not ok: %s", out)
			}
			for _, s := range report.Steps {
				if s.Step == "credentials" && !strings.HasPrefix(s.Detail, "from the "+name) {
					t.Errorf("credentials %q, want them from the %s", s.Detail, name)
				}
			}
			objects, uploads := b.contents(t)
			if len(objects) != 0 || len(uploads) != 0 {
				t.Errorf("the check leaves %v and %v", objects, uploads)
			}
		})
	}
}

// Credentials that end all the time are got again in time, and nobody who uploads or reads sees any of it.
func TestS3CredentialsEnd(t *testing.T) {
	t.Parallel()
	for name, env := range identities(t, "4") {
		name, env := name, env
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			d := startWith(t, t.TempDir(), append(append(bucketEnvironment(b.url), alone(t)), env...))
			c := d.client(t)
			keys := map[string]bool{}
			for until, n := time.Now().Add(10*time.Second), int64(0); time.Now().Before(until); n++ {
				data := noise(n, smallSize)
				mustPut(t, c, data)
				if !bytes.Equal(mustGet(t, c, sum(data)), data) {
					t.Fatal("other bytes")
				}
				time.Sleep(50 * time.Millisecond)
			}
			for _, e := range b.requests("PutObject") {
				if keys[e.AccessKey] = true; e.Status != 200 {
					t.Errorf("a PutObject was answered %d %s", e.Status, e.Code)
				}
			}
			if len(keys) < 3 {
				t.Errorf("in ten seconds only %d sets of credentials of four were used", len(keys))
			}
		})
	}
}

// The server takes the credentials no longer, before their time: they are got again, once, and that is all.
func TestS3TokenRevoked(t *testing.T) {
	for name, env := range identities(t, "3600") {
		name, env := name, env
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			d := startWith(t, t.TempDir(), append(append(bucketEnvironment(b.url), alone(t)), env...))
			c := d.client(t)
			mustPut(t, c, noise(1, smallSize))
			b.rules(t, `{"method": "PUT", "count": 1, `+answer(400, "ExpiredToken")+`}`)
			mustPut(t, c, noise(2, smallSize))
			b.allApplied(t)
			puts := b.requests("PutObject")
			if len(puts) != 2 || puts[0].AccessKey == puts[1].AccessKey {
				t.Errorf("%d were stored, the second one with the key of the first", len(puts))
			}
		})
	}
}
