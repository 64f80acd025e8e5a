// Package standardwebhook writes secrets and signatures as the Standard Webhooks
// specification 1.0 has them (https://www.standardwebhooks.com). It sends nothing; start
// reading at Sign.
package standardwebhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// The headers of a message.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

// ParseSecret returns the key that a secret holds. The error does not repeat it.
func ParseSecret(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return nil, apierr.Invalid("secret", "must be %s and the base64 of %d to %d bytes", secretPrefix, minSecretBytes, maxSecretBytes)
	}
	return key, nil
}

// FormatSecret is how a key is shown: ParseSecret reads it.
func FormatSecret(key []byte) string {
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// Sign returns the signature of a message: `v1,` and the base64 of HMAC-SHA256
// over its id, the time of sending in seconds since 1970 and its body, with dots
// between.
func Sign(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, strconv.FormatInt(at.Unix(), 10))
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
