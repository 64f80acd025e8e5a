// Package webhook tells other systems of the registry's changes: it delivers what
// the store has noted for every webhook, in order, signed as the Standard Webhooks
// specification says (https://www.standardwebhooks.com), and tries again for
// hours. It knows the store's messages and nothing of the API. Start reading at
// Deliverer.
package webhook

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

// Sign returns the signature of a message: `v1,` and the base64 of HMAC-SHA256
// over its id, the time of sending in seconds since 1970 and its body, with dots
// between.
func Sign(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, strconv.FormatInt(at.Unix(), 10))
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
