package conformance

import (
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stowage/s3/sigv4"
)

// account is somebody who may do everything with the bucket of the tests.
type account struct {
	endpoint, region string
	key              sigv4.Credentials
}

// do is one signed request to bucketName; path begins behind the bucket's name. The answer must be 2xx.
func (a account) do(t *testing.T, method, path, body string) []byte {
	t.Helper()
	r, err := http.NewRequest(method, a.endpoint+"/"+bucketName+path, strings.NewReader(body))
	noErr(t, err)
	noErr(t, sigv4.Sign(r, a.key, a.region, time.Now(), fmt.Sprintf("%x", sha256.Sum256([]byte(body)))))
	resp, err := http.DefaultClient.Do(r)
	noErr(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	noErr(t, err)
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, b)
	}
	return b
}

// begin begins an upload, as another node would, and leaves a part in it.
func (a account) begin(t *testing.T, key string) (id string) {
	t.Helper()
	var begun struct{ UploadId string }
	noErr(t, xml.Unmarshal(a.do(t, "POST", "/"+key+"?uploads=", ""), &begun))
	a.do(t, "PUT", "/"+key+"?partNumber=1&uploadId="+begun.UploadId, "not ours")
	return begun.UploadId
}

// uploads are those that are neither completed nor aborted: their keys.
func (a account) uploads(t *testing.T) map[string]string {
	t.Helper()
	var list struct {
		Upload []struct{ Key, UploadId string }
	}
	noErr(t, xml.Unmarshal(a.do(t, "GET", "?uploads=", ""), &list))
	out := map[string]string{}
	for _, u := range list.Upload {
		out[u.UploadId] = u.Key
	}
	return out
}

// onlyUploads waits until these, which are not ours, are open, and no others.
func (a account) onlyUploads(t *testing.T, ids ...string) {
	t.Helper()
	eventually(t, 20*time.Second, "no upload but those of others", func() (bool, string) {
		open := a.uploads(t)
		for _, id := range ids {
			if open[id] == "" {
				t.Fatalf("the upload %s, which is not ours, is gone", id)
			}
		}
		return len(open) == len(ids), fmt.Sprintf("%d are open, %d are others'", len(open), len(ids))
	})
}

// dropUnheard aborts the uploads that have no part. A daemon that died before it heard that it had begun one
// knows of none, and nobody can tell whose it is; but it has sent nothing, for it writes down first what it begins.
func (a account) dropUnheard(t *testing.T) {
	t.Helper()
	for id, key := range a.uploads(t) {
		var list struct{ Part []struct{ PartNumber int } }
		path := "/" + key + "?uploadId=" + id
		noErr(t, xml.Unmarshal(a.do(t, "GET", path, ""), &list))
		if len(list.Part) == 0 {
			a.do(t, "DELETE", path, "")
		}
	}
}

// soundBucket demands that every object is the blob that its key says.
func (a account) soundBucket(t *testing.T) {
	t.Helper()
	var list struct {
		IsTruncated bool
		Contents    []struct{ Key string }
	}
	noErr(t, xml.Unmarshal(a.do(t, "GET", "?list-type=2", ""), &list))
	if list.IsTruncated {
		t.Fatal("more objects than a list has")
	}
	for _, o := range list.Contents {
		if got := bucketPrefix + "/blobs/sha256/" + sum(a.do(t, "GET", "/"+o.Key, "")).Hex(); got != o.Key {
			t.Fatalf("the object %s has the bytes of %s", o.Key, got)
		}
	}
}
