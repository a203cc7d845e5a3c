package conformance

import (
	"os"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// The layout below a root is part of what users may rely on: tools read blobs from disk.
func blobPath(root, alg, hex string) string { return filepath.Join(root, "blobs", alg, hex) }

// blobFiles counts the files below blobs/, or the objects below the prefix in the bucket.
func blobFiles(t *testing.T, root string) int {
	t.Helper()
	if remote() {
		return remoteBlobs(t, root)
	}
	n := 0
	err := filepath.Walk(filepath.Join(root, "blobs"), func(_ string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			n++
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ingestFiles counts the stages in ingest/.
func ingestFiles(t *testing.T, root string) int {
	t.Helper()
	l, err := os.ReadDir(filepath.Join(root, "ingest"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return stageFiles(l)
}

func fileDigest(t *testing.T, path string) digest.Digest {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := digest.FromReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
