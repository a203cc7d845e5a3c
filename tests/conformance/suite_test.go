package conformance

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	api "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/proxy"
	"github.com/containerd/containerd/content/testsuite"
	"github.com/containerd/containerd/metadata"
	"github.com/containerd/containerd/namespaces"
	bolt "go.etcd.io/bbolt"
)

// overSocket gives containerd's suite a daemon of its own, seen through containerd's proxy client.
func overSocket(ctx context.Context, root string) (context.Context, content.Store, func() error, error) {
	d, err := launch(filepath.Join(root, "store"))
	if err != nil {
		return nil, nil, nil, err
	}
	end := func() error {
		defer d.remove()
		return d.stop()
	}
	conn, err := d.dial()
	if err != nil {
		end()
		return nil, nil, nil, err
	}
	return ctx, proxy.NewContentStore(api.NewContentClient(conn)), end, nil
}

// behindMetadata puts containerd's metadata layer, which is what containerd's clients talk to, before it.
func behindMetadata(opts ...metadata.DBOpt) testsuite.StoreInitFn {
	return func(ctx context.Context, root string) (context.Context, content.Store, func() error, error) {
		ctx, cs, end, err := overSocket(ctx, root)
		if err != nil {
			return nil, nil, nil, err
		}
		db, err := bolt.Open(filepath.Join(root, "metadata.db"), 0o660, nil)
		if err != nil {
			end()
			return nil, nil, nil, err
		}
		var count uint64
		name := testsuite.Name(ctx)
		ctx = testsuite.SetContextWrapper(ctx, func(ctx context.Context) (context.Context, func(context.Context) error, error) {
			ns := fmt.Sprintf("%s-n%d", name, atomic.AddUint64(&count, 1))
			return namespaces.WithNamespace(ctx, ns), func(context.Context) error { return nil }, nil
		})
		return ctx, metadata.NewDB(db, cs, nil, opts...).ContentStore(), func() error {
			if err := db.Close(); err != nil {
				return err
			}
			return end()
		}, nil
	}
}

func TestContainerdSuite(t *testing.T) {
	testsuite.ContentSuite(t, "stowage", overSocket)
}

func TestContainerdSuiteMetadata(t *testing.T) {
	testsuite.ContentSuite(t, "metadata", behindMetadata())
	testsuite.ContentCrossNSSharedSuite(t, "metadata", behindMetadata())
	testsuite.ContentCrossNSIsolatedSuite(t, "metadata", behindMetadata(metadata.WithPolicyIsolated))
}
