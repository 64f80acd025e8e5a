package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"
)

// The headers of Standard Webhooks.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// secretHead begins a secret as it is shown.
const secretHead = "whsec_"

// secretText is how a secret is shown.
func secretText(secret []byte) string {
	return secretHead + base64.StdEncoding.EncodeToString(secret)
}

// sign returns the signature of what is sent at a time: HMAC-SHA256 over id, seconds
// since 1970 and body, joined by full stops (Standard Webhooks 1.0, "v1").
func sign(secret []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
