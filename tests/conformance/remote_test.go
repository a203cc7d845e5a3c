package conformance

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stowage/s3/sigv4"
)

// The same tests run over a bucket where S3_ENDPOINT is set (tests/suite/s3.sh sets it, with S3_BUCKET,
// S3_REGION, S3_CA and AWS_...): every root has a prefix of its own there. The disk has nothing but stages, unless
// S3_MODE is tiered: then the bytes are on the disk, and come into the bucket afterwards; and what is deleted is deleted
// there, too, or the next Info would find it again.

func remote() bool { return os.Getenv("S3_ENDPOINT") != "" }

func remoteMode() string {
	if m := os.Getenv("S3_MODE"); m != "" {
		return m
	}
	return "direct"
}

// localOnly skips a test that looks for blobs on the disk, or puts them there.
func localOnly(t *testing.T, why string) {
	t.Helper()
	if remote() {
		t.Skip("over a bucket: " + why)
	}
}

func remotePrefix(root string) string {
	return fmt.Sprintf("conformance/%x", sha256.Sum256([]byte(fmt.Sprint(os.Getpid(), root))))[:40]
}

// remoteEnvironment is the daemon's configuration for root. Small parts, so that most uploads have several.
func remoteEnvironment(root string) []string {
	if !remote() {
		return nil
	}
	environment := []string{
		"STOWAGE_REMOTE_TYPE=s3",
		"STOWAGE_REMOTE_MODE=" + remoteMode(),
		"STOWAGE_REMOTE_S3_ENDPOINT=" + os.Getenv("S3_ENDPOINT"),
		"STOWAGE_REMOTE_S3_REGION=" + os.Getenv("S3_REGION"),
		"STOWAGE_REMOTE_S3_BUCKET=" + os.Getenv("S3_BUCKET"),
		"STOWAGE_REMOTE_S3_CA_FILE=" + os.Getenv("S3_CA"),
		"STOWAGE_REMOTE_S3_PREFIX=" + remotePrefix(root),
		"STOWAGE_REMOTE_S3_ACCESS_KEY=" + os.Getenv("AWS_ACCESS_KEY_ID"),
		"STOWAGE_REMOTE_S3_SECRET_KEY=" + os.Getenv("AWS_SECRET_ACCESS_KEY"),
		"STOWAGE_REMOTE_S3_PROXY=direct",
		"STOWAGE_REMOTE_S3_SMALL_BLOB=1MiB",
		"STOWAGE_REMOTE_S3_PART_SIZE=5MiB",
	}
	if remoteMode() == "tiered" {
		environment = append(environment, "STOWAGE_REMOTE_OWNER=exclusive")
	}
	return environment
}

// bucketClient trusts the authority that S3_CA names.
func bucketClient(t *testing.T) *http.Client {
	t.Helper()
	if os.Getenv("S3_CA") == "" {
		return http.DefaultClient
	}
	pem, err := os.ReadFile(os.Getenv("S3_CA"))
	noErr(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// remoteBlobs counts the objects below the root's prefix.
func remoteBlobs(t *testing.T, root string) int {
	t.Helper()
	q := url.Values{"list-type": {"2"}, "prefix": {remotePrefix(root) + "/blobs/"}}
	target := os.Getenv("S3_ENDPOINT") + "/" + os.Getenv("S3_BUCKET") + "?" + q.Encode()
	r, err := http.NewRequest("GET", target, nil)
	noErr(t, err)
	c := sigv4.Credentials{AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}
	empty := fmt.Sprintf("%x", sha256.Sum256(nil))
	noErr(t, sigv4.Sign(r, c, os.Getenv("S3_REGION"), time.Now(), empty))
	resp, err := bucketClient(t).Do(r)
	noErr(t, err)
	defer resp.Body.Close()
	var list struct {
		IsTruncated bool
		Contents    []struct{ Key string }
	}
	noErr(t, xml.NewDecoder(resp.Body).Decode(&list))
	if resp.StatusCode != http.StatusOK || list.IsTruncated {
		t.Fatalf("list of the bucket: %s, %d keys, truncated: %v", resp.Status, len(list.Contents), list.IsTruncated)
	}
	return len(list.Contents)
}

// stageFiles counts the spools of stages among what lies in ingest/.
func stageFiles(dir []os.DirEntry) int {
	n := 0
	for _, e := range dir {
		if filepath.Ext(e.Name()) == "" {
			n++
		}
	}
	return n
}
