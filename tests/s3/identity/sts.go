package identity

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	// What AssumeRoleWithWebIdentity knows; anything else is a mistake.
	stsParameters = regexp.MustCompile(
		`^(Action|Version|RoleArn|RoleSessionName|WebIdentityToken|DurationSeconds|ProviderId|Policy|PolicyArns\..*)$`)
)

// NewSTS is a security token service that knows AssumeRoleWithWebIdentity, by POST, unsigned.
func NewSTS() *server {
	return newServer(Settings{Role: "arn:aws:iam::111122223333:role/stowage", Token: "web-identity-token"}, sts)
}

// stsFail is an error as the query protocol has them.
func stsFail(w http.ResponseWriter, status int, code, format string, args ...interface{}) error {
	why := fmt.Sprintf(format, args...)
	var text bytes.Buffer
	xml.EscapeText(&text, []byte(why))
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`+
		"<Code>%s</Code><Message>%s</Message></Error><RequestId>r-1</RequestId></ErrorResponse>", code, text.String())
	return fmt.Errorf("%s: %s", code, why)
}

func stsForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Method != "POST" || r.URL.Path != "/" || r.URL.RawQuery != "" {
		return nil, stsFail(w, 400, "MalformedInput", "expected: POST / with the parameters in the body")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, stsFail(w, 400, "MalformedInput", "the content's type must be application/x-www-form-urlencoded, not %q", kind)
	}
	if r.Header.Get("Authorization") != "" {
		return nil, stsFail(w, 400, "InvalidClientTokenId", "AssumeRoleWithWebIdentity is not signed: its token is the proof")
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, stsFail(w, 400, "IncompleteSignature", "%v", err)
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, stsFail(w, 400, "MalformedQueryString", "%v", err)
	}
	for name, values := range form {
		if len(values) != 1 || !stsParameters.MatchString(name) {
			return nil, stsFail(w, 400, "ValidationError", "the parameter %s is unknown, or came twice", name)
		}
	}
	return form, nil
}

func sts(w http.ResponseWriter, r *http.Request, set Settings) error {
	form, err := stsForm(w, r)
	if err != nil {
		return err
	}
	ttl := seconds(set.TTL)
	asked := 3600
	if s := form.Get("DurationSeconds"); s != "" {
		if asked, err = strconv.Atoi(s); err != nil || asked < 900 || asked > 43200 {
			return stsFail(w, 400, "ValidationError", "DurationSeconds must be from 900 to 43200, not %q", s)
		}
	}
	if ttl == 0 {
		ttl = time.Duration(asked) * time.Second
	}
	switch {
	case form.Get("Action") != "AssumeRoleWithWebIdentity" || form.Get("Version") != "2011-06-15":
		return stsFail(w, 400, "InvalidAction", "expected: AssumeRoleWithWebIdentity of 2011-06-15")
	case !sessionName.MatchString(form.Get("RoleSessionName")):
		return stsFail(w, 400, "ValidationError", "RoleSessionName must be %s", sessionName)
	case form.Get("WebIdentityToken") != set.Token:
		return stsFail(w, 400, "InvalidIdentityToken", "the token is not the one that was given")
	case form.Get("RoleArn") != set.Role:
		return stsFail(w, 403, "AccessDenied", "not authorized to perform sts:AssumeRoleWithWebIdentity on %s", form.Get("RoleArn"))
	}
	c := Issue(ttl)
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::111122223333:assumed-role/stowage/%s</Arn>
      <AssumedRoleId>AROASTOWAGE:%s</AssumedRoleId>
    </AssumedRoleUser>
    <Provider>test</Provider>
    <Credentials>
      <SessionToken>%s</SessionToken>
      <SecretAccessKey>%s</SecretAccessKey>
      <Expiration>%s</Expiration>
      <AccessKeyId>%s</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
`, form.Get("RoleSessionName"), form.Get("RoleSessionName"), c.Token, c.SecretKey, c.Expires.Format(time.RFC3339), c.AccessKey)
	return nil
}
