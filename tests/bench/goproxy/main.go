// Command goproxy is the straightforward way of writing a proxy content store: containerd's own local store
// behind containerd's own content service, on a unix socket.
//
//	goproxy ROOT SOCKET
package main

import (
	"fmt"
	"net"
	"os"

	api "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/content/local"
	"github.com/containerd/containerd/services/content/contentserver"
	"google.golang.org/grpc"
)

func serve(root, socket string) error {
	store, err := local.NewStore(root)
	if err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterContentServer(server, contentserver.New(store))
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: goproxy ROOT SOCKET")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "goproxy:", err)
		os.Exit(1)
	}
}
