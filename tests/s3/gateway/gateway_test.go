package gateway

import (
	"net/http"
	"testing"
)

func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestGateway(t *testing.T) {
	g, err := Start("../rgw.sh", "--bucket", "layers")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop()
	if g.AccessKey == "" || g.SecretKey == "" || g.Region == "" || status(t, g.Endpoint+"/layers") != 403 {
		t.Fatalf("%+v", g)
	}
	if err := g.Kill(); err != nil || status(t, g.Endpoint) != 0 {
		t.Fatal("not killed", err)
	}
	if err := g.Resume(); err != nil || status(t, g.Endpoint+"/layers") != 403 {
		t.Fatal("not back", err)
	}
	if err := g.Stop(); err != nil || status(t, g.Endpoint) != 0 {
		t.Fatal("not stopped", err)
	}
}

func TestNoGateway(t *testing.T) {
	if g, err := Start("../rgw.sh", "--nonsense"); err == nil {
		g.Stop()
		t.Fatal("started")
	}
}
