// Package control is the side of the test servers that tests talk to, on an address of its own: a log of all
// requests, and settings that change what the server does. All of it is JSON.
//
//	GET /log        every request since the start, or since DELETE /log
//	GET /settings   PATCH changes those that it names, PUT also resets the others
//
// A server may add more.
package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const maxEntries = 200000

// Entry is one request, written when its answer is complete.
type Entry struct {
	N         int               `json:"n"`
	Time      time.Time         `json:"time"`
	Millis    float64           `json:"ms"`
	Remote    string            `json:"remote"` // the connection
	Proto     string            `json:"proto"`
	Method    string            `json:"method"`
	Host      string            `json:"host"`
	Target    string            `json:"target"` // as on the request line
	Header    map[string]string `json:"header"` // names in lower case
	Bytes     int64             `json:"bytes"`  // of the body, as far as it was read
	Op        string            `json:"op,omitempty"`
	Bucket    string            `json:"bucket,omitempty"`
	Key       string            `json:"key,omitempty"`
	AccessKey string            `json:"access_key,omitempty"`
	Region    string            `json:"region,omitempty"`
	Status    int               `json:"status"`
	Code      string            `json:"code,omitempty"`
	Why       string            `json:"why,omitempty"`
	Rule      string            `json:"rule,omitempty"` // of the fault proxy: the one that was applied
}

// NewEntry holds what r says before it is served.
func NewEntry(r *http.Request) *Entry {
	e := &Entry{Time: time.Now(), Remote: r.RemoteAddr, Proto: r.Proto, Method: r.Method, Host: r.Host,
		Target: r.RequestURI, Header: map[string]string{}}
	for name, values := range r.Header {
		e.Header[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if r.ContentLength >= 0 {
		e.Header["content-length"] = fmt.Sprint(r.ContentLength)
	}
	return e
}

// Log is safe for all goroutines.
type Log struct {
	mu      sync.Mutex
	n       int
	entries []Entry
}

func (l *Log) Add(e *Entry) {
	e.Millis = float64(time.Since(e.Time).Microseconds()) / 1000
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	e.N = l.n
	if len(l.entries) < maxEntries {
		l.entries = append(l.entries, *e)
	}
}

func (l *Log) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Entry{}, l.entries...)
}

func (l *Log) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// Settings is one value that tests replace while others read copies of it. A T may hold references, but those
// who have a copy must not change what they lead to.
type Settings[T any] struct {
	mu      sync.Mutex
	initial func() T
	value   T
}

// NewSettings begins with initial(), which is also what a reset leads to.
func NewSettings[T any](initial func() T) *Settings[T] {
	return &Settings[T]{initial: initial, value: initial()}
}

func (s *Settings[T]) Get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// Update changes the value under the lock; f must not change what it refers to.
func (s *Settings[T]) Update(f func(*T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.value)
}

// Change replaces what the JSON names; with reset the rest becomes what it was at the start.
func (s *Settings[T]) Change(from io.Reader, reset bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Decoded into a value that shares nothing with the copies.
	next := s.initial()
	if !reset {
		now, err := json.Marshal(s.value)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(now, &next); err != nil {
			return err
		}
	}
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	if err := d.Decode(&next); err != nil && err != io.EOF {
		return err
	}
	s.value = next
	return nil
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, v interface{}) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	e.Encode(v)
}

// Refuse answers 405 with what would have been right.
func Refuse(w http.ResponseWriter, allowed string) {
	http.Error(w, "expected: "+allowed, http.StatusMethodNotAllowed)
}

// Handler serves what all servers have.
func Handler[T any](log *Log, settings *Settings[T]) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/log", func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "GET":
			Answer(w, log.Entries())
		case "DELETE":
			log.Clear()
		default:
			Refuse(w, "GET DELETE")
		}
	})
	mux.HandleFunc("/settings", func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "GET":
		case "PATCH", "PUT":
			if err := settings.Change(r.Body, r.Method == "PUT"); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		default:
			Refuse(w, "GET PATCH PUT")
			return
		}
		Answer(w, settings.Get())
	})
	return mux
}
