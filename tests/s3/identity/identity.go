package identity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"stowage/s3/control"
)

// Settings of all three servers; each uses those that concern it.
type Settings struct {
	// TTL of the credentials that are issued, in seconds; those of STS end with the duration that is asked for, if
	// TTL is 0.
	TTL float64 `json:"ttl_s"`
	// Delay in milliseconds before every answer.
	Delay int `json:"delay_ms"`
	// Fail answers so many requests (-1: all) with FailStatus and FailBody instead.
	Fail       int    `json:"fail"`
	FailStatus int    `json:"fail_status"`
	FailBody   string `json:"fail_body"`

	// Role is the ARN that STS is to be asked for, or the role's name at the metadata service ("": none is there).
	Role string `json:"role"`
	// Token is what must come along: STS's web identity token, or Authorization at the container endpoint ("": none).
	Token string `json:"token"`
	// Path of the container endpoint.
	Path string `json:"path"`

	// Region that the metadata service tells.
	Region string `json:"region"`
	// HopLimit: the answer to the request for a session token never arrives, as where a container is one hop too far.
	HopLimit bool `json:"hop_limit"`
	// SessionTTL (seconds) is the most that a session token lives, whatever was asked for. 0: what was asked for.
	SessionTTL float64 `json:"session_ttl_s"`
	// Disabled: 403 for everything, as where the metadata service is turned off.
	Disabled bool `json:"disabled"`
}

// server is what the three have in common.
type server struct {
	settings *control.Settings[Settings]
	log      *control.Log
	// answer serves one request; what it returns as an error stands in the log as the reason.
	answer func(w http.ResponseWriter, r *http.Request, set Settings) error
}

func newServer(initial Settings, answer func(http.ResponseWriter, *http.Request, Settings) error) *server {
	return &server{settings: control.NewSettings(func() Settings { return initial }), log: &control.Log{}, answer: answer}
}

// Control is what tests talk to.
func (s *server) Control() http.Handler { return control.Handler(s.log, s.settings) }

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := control.NewEntry(r)
	set := s.settings.Get()
	out := &statusWriter{w, http.StatusOK}
	time.Sleep(time.Duration(set.Delay) * time.Millisecond)
	var err error
	if s.takeFailure() {
		out.WriteHeader(set.FailStatus)
		fmt.Fprint(out, set.FailBody)
		err = fmt.Errorf("as it was told")
	} else {
		err = s.answer(out, r, set)
	}
	if entry.Status = out.status; err != nil {
		entry.Why = err.Error()
	}
	s.log.Add(entry)
}

// takeFailure uses up one of the failures that are still to come.
func (s *server) takeFailure() (fail bool) {
	s.settings.Update(func(set *Settings) {
		if fail = set.Fail != 0; set.Fail > 0 {
			set.Fail--
		}
	})
	return fail
}

// refuse answers, and says why in the log.
func refuse(w http.ResponseWriter, status int, format string, args ...interface{}) error {
	err := fmt.Errorf(format, args...)
	http.Error(w, err.Error(), status)
	return err
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// document is the JSON of the container endpoint and of the metadata service.
func document(w http.ResponseWriter, c Issued, more map[string]string) {
	d := map[string]string{"AccessKeyId": c.AccessKey, "SecretAccessKey": c.SecretKey, "Token": c.Token,
		"Expiration": c.Expires.Format(time.RFC3339)}
	for name, value := range more {
		d[name] = value
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(d)
}

// NewContainer is the endpoint of ECS tasks and of EKS Pod Identity: GET Path, with Token as it is in Authorization.
func NewContainer() *server {
	return newServer(Settings{TTL: 3600, Path: "/v1/credentials", Token: "container-token"}, container)
}

func container(w http.ResponseWriter, r *http.Request, set Settings) error {
	if r.URL.Path != set.Path {
		return refuse(w, 404, "expected: %s", set.Path)
	}
	if r.Method != "GET" {
		return refuse(w, 405, "expected: GET")
	}
	if got := r.Header.Get("Authorization"); got != set.Token {
		return refuse(w, 401, "Authorization is not the token that was given")
	}
	document(w, Issue(seconds(set.TTL)), map[string]string{"RoleArn": "arn:aws:iam::111122223333:role/container"})
	return nil
}
