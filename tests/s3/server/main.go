// Command server is all the small servers of the S3 tests.
//
//	server s3        a strict S3 server in memory
//	server faults    a proxy before an S3 server that goes wrong as it is told
//	server sts       AssumeRoleWithWebIdentity
//	server container the credentials of ECS and of EKS Pod Identity
//	server imds      instance metadata, version 2
//
// Each prints one line, `URL CONTROL-URL`: where it serves, and where tests read its log and set what it does
// (see the package control). It ends by SIGTERM, and when its standard input, where that is a pipe, ends.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"stowage/s3/faults"
	"stowage/s3/identity"
	"stowage/s3/strict"
)

// flags that all of them have.
type common struct {
	*flag.FlagSet
	listen, control, cert, key string
}

func newFlags(name string) *common {
	c := &common{FlagSet: flag.NewFlagSet(name, flag.ExitOnError)}
	c.StringVar(&c.listen, "listen", "127.0.0.1:0", "`address` to serve on")
	c.StringVar(&c.control, "control", "127.0.0.1:0", "`address` for the tests")
	c.StringVar(&c.cert, "cert", "", "PEM `file`: serve TLS with this certificate")
	c.StringVar(&c.key, "key", "", "PEM `file`: its key")
	return c
}

// config is nil without TLS.
func (c *common) config() (*tls.Config, error) {
	if c.cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// run serves both until something ends it. wrap, if not nil, changes the listener below TLS, and has HTTP/1.1 only.
func (c *common) run(service, control http.Handler, wrap func(net.Listener) net.Listener) error {
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	controls, err := net.Listen("tcp", c.control)
	if err != nil {
		return err
	}
	address, scheme := listener.Addr(), "http"
	config, err := c.config()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: service, TLSConfig: config}
	if wrap != nil {
		listener = wrap(listener)
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	failed := make(chan error, 2)
	go func() {
		if config == nil {
			failed <- server.Serve(listener)
		} else {
			failed <- server.ServeTLS(listener, "", "")
		}
	}()
	go func() { failed <- http.Serve(controls, control) }()
	if config != nil {
		scheme = "https"
	}
	fmt.Printf("%s://%s http://%s\n", scheme, address, controls.Addr())
	select {
	case err := <-failed:
		return err
	case <-ended():
		return nil
	}
}

// ended is closed by SIGTERM, SIGINT, or the end of an input that is a pipe.
func ended() <-chan struct{} {
	done := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	input := make(chan struct{})
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0 {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			close(input)
		}()
	}
	go func() {
		select {
		case <-signals:
		case <-input:
		}
		close(done)
	}()
	return done
}

func runS3(args []string) error {
	c := newFlags("s3")
	domain := c.String("domain", "localhost", "virtual hosts are BUCKET.`domain`")
	buckets := c.String("buckets", "layers", "`names`, separated by commas")
	c.Parse(args)
	s := strict.New(*domain, strings.Split(*buckets, ",")...)
	return c.run(s, s.Control(), nil)
}

func runFaults(args []string) error {
	c := newFlags("faults")
	upstream := c.String("upstream", "", "`URL` of the S3 server, without a path")
	c.Parse(args)
	if *upstream == "" {
		return fmt.Errorf("-upstream is missing")
	}
	p := faults.New(*upstream)
	return c.run(p, p.Control(), p.Listener)
}

// controlled is what the servers for credentials are.
type controlled interface {
	http.Handler
	Control() http.Handler
}

func runIdentity(name string, s controlled) func([]string) error {
	return func(args []string) error {
		c := newFlags(name)
		c.Parse(args)
		return c.run(s, s.Control(), nil)
	}
}

func main() {
	commands := map[string]func([]string) error{"s3": runS3, "faults": runFaults,
		"sts": runIdentity("sts", identity.NewSTS()), "container": runIdentity("container", identity.NewContainer()),
		"imds": runIdentity("imds", identity.NewIMDS())}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: server s3|faults|sts|container|imds [FLAGS]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "server %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
