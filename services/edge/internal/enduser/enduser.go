// Package enduser tells for which of its caller's own users a request is, as the request
// says it: limits by user count them, and traffic splits stick to them. It believes what it
// is told; who the caller is, it does not know. Start reading at Of.
package enduser

import (
	"cmp"
	"encoding/json"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Of returns a request's own user, wherever its shape keeps it: the member `user`, which
// counts where several are given, or `safety_identifier` of a chat or a response. Empty
// where it names none, or is no request that may.
func Of(req any) string {
	if m, ok := req.(*edgev1.CreateMessageRequest); ok {
		return ofMessage(m)
	}
	if r, ok := req.(interface{ GetUser() string }); ok && r.GetUser() != "" {
		return r.GetUser()
	}
	if r, ok := req.(interface{ GetSafetyIdentifier() string }); ok {
		return r.GetSafetyIdentifier()
	}
	return ""
}

// ofMessage returns whom a message is for: what Anthropic calls metadata.user_id, or the
// members of a chat. A message that has user_id and user is refused when it is answered.
func ofMessage(m *edgev1.CreateMessageRequest) string {
	return cmp.Or(m.GetMetadata().GetUserId(), text(m.GetExtra()["user"]), text(m.GetExtra()["safety_identifier"]))
}

// text reads a member that should be a text. One that is not is refused when the request
// is answered.
func text(raw string) string {
	var s string
	if raw == "" || json.Unmarshal([]byte(raw), &s) != nil {
		return ""
	}
	return s
}
