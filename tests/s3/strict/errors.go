package strict

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"stowage/s3/sigv4"
)

func bad(status int, code, format string, args ...interface{}) *sigv4.Fault {
	return &sigv4.Fault{Status: status, Code: code, Why: fmt.Sprintf(format, args...)}
}

func denied(format string, args ...interface{}) *sigv4.Fault {
	return bad(403, "AccessDenied", "access denied: "+format, args...)
}

func notImplemented(format string, args ...interface{}) *sigv4.Fault {
	return bad(501, "NotImplemented", "not implemented here: "+format, args...)
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// errorBody is the document that S3 answers failures with.
func (r *request) errorBody(f *sigv4.Fault) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<Error><Code>%s</Code><Message>%s</Message>", f.Code, escape(f.Why))
	for _, e := range f.Extra {
		fmt.Fprintf(&b, "<%s>%s</%s>", e[0], escape(e[1]), e[0])
	}
	fmt.Fprintf(&b, "<Resource>%s</Resource><RequestId>%s</RequestId><HostId>host-%s</HostId></Error>",
		escape(r.URL.Path), r.id, r.id)
	return b.String()
}

// fail is the answer where the head is not sent yet.
func (r *request) fail(f *sigv4.Fault) {
	r.entry.Code, r.entry.Why = f.Code, f.Error()
	for _, e := range f.Extra {
		r.entry.Why += fmt.Sprintf("; %s: %s", e[0], e[1])
	}
	body := xml.Header + r.errorBody(f)
	if r.Method == "HEAD" || f.Status == 304 {
		body = "" // so that nobody can rely on it
	} else {
		r.w.Header().Set("Content-Type", "application/xml")
	}
	if r.entry.Status == 0 {
		r.answer(f.Status)
	}
	io.WriteString(r.w, body)
}
