package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync"
)

// Trigger is a request that a rule waits for.
type Trigger struct {
	Method string `json:"method"`
	Target string `json:"target"`
}

// Rule says which requests something happens to, and what. The first that fits a request is applied, and counts.
type Rule struct {
	Name string `json:"name,omitempty"`

	// Method ("" for all) and Target, a regular expression on path and query as they stand on the request line.
	Method string `json:"method,omitempty"`
	Target string `json:"target,omitempty"`
	// After: asleep until such a request has been answered 2xx.
	After *Trigger `json:"after,omitempty"`
	// Skip so many that fit, then apply to Count of them (0: all).
	Skip  int `json:"skip,omitempty"`
	Count int `json:"count,omitempty"`

	// Delay in milliseconds, before anything else happens.
	Delay int `json:"delay_ms,omitempty"`

	// Status, Headers and Body are the answer. The server sees nothing of the request, unless Forward is set: then
	// it does what it is asked, and its answer is lost.
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Forward bool              `json:"forward,omitempty"`
	// Hasty: the answer comes without waiting for the request's body, and the connection ends.
	Hasty bool `json:"hasty,omitempty"`

	// Of the request's body so many bytes are read; then the connection is reset, or nothing more happens. The
	// server sees nothing of it.
	ResetRequest *int64 `json:"reset_request,omitempty"`
	HangRequest  *int64 `json:"hang_request,omitempty"`

	// Of the answer so many bytes of the body are sent (-1: not even its head); then the connection is reset, or
	// nothing more happens, or it is closed as if that were all.
	ResetResponse *int64 `json:"reset_response,omitempty"`
	HangResponse  *int64 `json:"hang_response,omitempty"`
	Truncate      *int64 `json:"truncate,omitempty"`

	// SetHeaders replaces headers of the answer: to swap an ETag, to skew a Date. "" removes one.
	SetHeaders map[string]string `json:"set_headers,omitempty"`
	// Corrupt flips all bits of the byte at this offset of the body.
	Corrupt *int64 `json:"corrupt,omitempty"`
	// Lengthen appends so many bytes to the body, and says so in Content-Length. Surplus sends so many behind the
	// body, and does not.
	Lengthen int64 `json:"lengthen,omitempty"`
	Surplus  int64 `json:"surplus,omitempty"`
	// Rate (bytes a second) of the answer's body.
	Rate int64 `json:"rate,omitempty"`

	// What came of it, for the tests to read.
	Matched int `json:"matched"`
	Applied int `json:"applied"`

	target, after *regexp.Regexp
	awake         bool
}

func (r *Rule) compile() (err error) {
	if r.target, err = regexp.Compile(r.Target); err != nil {
		return err
	}
	r.awake = r.After == nil
	if r.After != nil {
		if r.after, err = regexp.Compile(r.After.Target); err != nil {
			return err
		}
	}
	ends := 0
	for _, set := range []bool{r.Status != 0, r.ResetRequest != nil, r.HangRequest != nil, r.ResetResponse != nil,
		r.HangResponse != nil, r.Truncate != nil, r.Surplus > 0} {
		if set {
			ends++
		}
	}
	if ends > 1 {
		return fmt.Errorf("rule %q: of status, reset, hang, truncate and surplus there can be one", r.Name)
	}
	if r.Status == 0 && (r.Body != "" || r.Headers != nil || r.Forward || r.Hasty) {
		return fmt.Errorf("rule %q: body, headers, forward and hasty belong to a status", r.Name)
	}
	return nil
}

// rules is the list, with its counts.
type rules struct {
	mu   sync.Mutex
	list []*Rule
}

// pick is a copy of the rule for this request, or nil.
func (rs *rules) pick(r *http.Request) *Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, rule := range rs.list {
		if !rule.awake || (rule.Method != "" && rule.Method != r.Method) || !rule.target.MatchString(r.RequestURI) {
			continue
		}
		rule.Matched++
		if rule.Matched <= rule.Skip || (rule.Count > 0 && rule.Applied >= rule.Count) {
			continue
		}
		rule.Applied++
		out := *rule
		return &out
	}
	return nil
}

// wake is told of every request that was answered 2xx.
func (rs *rules) wake(r *http.Request) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, rule := range rs.list {
		if !rule.awake && (rule.After.Method == "" || rule.After.Method == r.Method) && rule.after.MatchString(r.RequestURI) {
			rule.awake = true
		}
	}
}

// read takes one rule or a list of them.
func readRules(from io.Reader) ([]*Rule, error) {
	raw, err := io.ReadAll(io.LimitReader(from, 1<<20))
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var out []*Rule
	for _, one := range list {
		rule := &Rule{}
		if err := unmarshalStrictly(one, rule); err != nil {
			return nil, err
		}
		if err := rule.compile(); err != nil {
			return nil, err
		}
		out = append(out, rule)
	}
	return out, nil
}
