package apierr

import (
	"strings"
)

// inWords says what protovalidate found as one would say it to a caller: its own
// sentences name regular expressions, and list the empty value that stands for a
// member that is not there.
func inWords(message string) string {
	message = strings.TrimPrefix(message, "value ")
	switch message {
	case "must be at least 1 characters", "must be at least 1 bytes", "must contain at least 1 item(s)", "length must be at least 1 characters":
		return "is required"
	}
	if list, ok := between(message, "must be in list [", "]"); ok {
		return "must be one of: " + strings.TrimPrefix(list, ", ")
	}
	if pattern, ok := between(message, "does not match regex pattern `", "`"); ok {
		if rule, ok := patternInWords(pattern); ok {
			return "must be " + rule
		}
	}
	return message
}

// between returns what of s is between its beginning and its end.
func between(s, begin, end string) (string, bool) {
	s, ok := strings.CutPrefix(s, begin)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, end)
}

// withoutField returns a description without the name of the field, beside which
// it stands.
func withoutField(field, description string) string {
	if field == "" {
		return description
	}
	rest, ok := strings.CutPrefix(description, field)
	if !ok || rest == "" || rest[0] != ':' && rest[0] != ' ' {
		return description
	}
	return strings.TrimLeft(rest, ": ")
}
