// Package identity holds the servers that hand out credentials, each of which checks what it is asked, and
// the credentials themselves: every test server can tell by looking whether one was issued by another.
package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Issued are credentials with an end. Secret and token follow from the key, for those who know how.
type Issued struct {
	AccessKey, SecretKey, Token string
	Expires                     time.Time
}

func derive(what, from string) string {
	h := hmac.New(sha256.New, []byte("stowage tests: "+what))
	h.Write([]byte(from))
	return hex.EncodeToString(h.Sum(nil))
}

// Issue makes new ones.
func Issue(ttl time.Duration) Issued {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	return issue("ASIA"+strings.ToUpper(hex.EncodeToString(id[:])), time.Now().Add(ttl).Truncate(time.Second))
}

func issue(key string, expires time.Time) Issued {
	end := fmt.Sprint(expires.Unix())
	// With characters that want encoding in a query, as real tokens have.
	token := base64.StdEncoding.EncodeToString([]byte("\xfb\xff?>" + key + "|" + end + "|" + derive("token", key+end)))
	return Issued{key, derive("secret", key)[:40], token, expires.UTC()}
}

// Find is the reverse: what was issued under this key with this token.
func Find(key, token string) (Issued, bool) {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return Issued{}, false
	}
	parts := strings.Split(strings.TrimPrefix(string(raw), "\xfb\xff?>"), "|")
	if len(parts) != 3 || parts[0] != key {
		return Issued{}, false
	}
	var end int64
	if _, err := fmt.Sscan(parts[1], &end); err != nil {
		return Issued{}, false
	}
	c := issue(key, time.Unix(end, 0))
	return c, c.Token == token
}
