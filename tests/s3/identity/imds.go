package identity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const metadata = "/latest/meta-data/"

type imds struct {
	mu       sync.Mutex
	n        int
	sessions map[string]time.Time // by token: their end
}

// NewIMDS is the metadata service of EC2 instances, version 2 only.
func NewIMDS() *server {
	m := &imds{sessions: map[string]time.Time{}}
	return newServer(Settings{TTL: 21600, Role: "instance-role", Region: "us-east-1"}, m.answer)
}

func (m *imds) answer(w http.ResponseWriter, r *http.Request, set Settings) error {
	if set.Disabled {
		return refuse(w, 403, "the metadata service is disabled")
	}
	if r.URL.Path == "/latest/api/token" {
		return m.newSession(w, r, set)
	}
	if r.Method != "GET" {
		return refuse(w, 405, "expected: GET")
	}
	m.mu.Lock()
	end, ok := m.sessions[r.Header.Get("X-Aws-Ec2-Metadata-Token")]
	m.mu.Unlock()
	if !ok || time.Now().After(end) {
		return refuse(w, 401, "there is no session token, or none of ours, or it has ended")
	}
	credentials := metadata + "iam/security-credentials/"
	switch {
	case r.URL.Path == metadata+"placement/region":
		fmt.Fprint(w, set.Region)
	case r.URL.Path == "/latest/dynamic/instance-identity/document":
		json.NewEncoder(w).Encode(map[string]string{"region": set.Region, "accountId": "111122223333"})
	case strings.HasPrefix(r.URL.Path, credentials) && set.Role == "":
		return refuse(w, 404, "the instance has no role")
	case r.URL.Path == credentials:
		fmt.Fprint(w, set.Role)
	case r.URL.Path == credentials+set.Role:
		document(w, Issue(seconds(set.TTL)), map[string]string{"Code": "Success", "Type": "AWS-HMAC",
			"LastUpdated": time.Now().UTC().Format(time.RFC3339)})
	default:
		return refuse(w, 404, "there is no %s", r.URL.Path)
	}
	return nil
}

func (m *imds) newSession(w http.ResponseWriter, r *http.Request, set Settings) error {
	if set.HopLimit {
		<-r.Context().Done() // the packet with the answer is dropped on its way
		panic(http.ErrAbortHandler)
	}
	if r.Method != "PUT" {
		return refuse(w, 405, "expected: PUT")
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		return refuse(w, 403, "forwarded requests get no session")
	}
	asked := r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds")
	ttl, err := strconv.Atoi(asked)
	if err != nil || ttl < 1 || ttl > 21600 {
		return refuse(w, 400, "x-aws-ec2-metadata-token-ttl-seconds must be from 1 to 21600, not %q", asked)
	}
	life := time.Duration(ttl) * time.Second
	if most := seconds(set.SessionTTL); most > 0 && life > most {
		life = most
	}
	m.mu.Lock()
	m.n++
	token := "AQAE" + derive("session", fmt.Sprint(m.n, time.Now()))[:48] + "=="
	m.sessions[token] = time.Now().Add(life)
	m.mu.Unlock()
	w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", fmt.Sprint(ttl))
	fmt.Fprint(w, token)
	return nil
}
