package jsoncodec

import "github.com/go-json-experiment/json/jsontext"

const fieldMask = "google.protobuf.FieldMask"

// camelCased returns a field mask as protojson reads it. That takes expireTime alone,
// but fields are named expire_time everywhere else (AIP-161). What is no text, or
// could not be turned back, stays as it is.
func camelCased(raw jsontext.Value) jsontext.Value {
	if raw.Kind() != '"' {
		return raw
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return raw
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '_' {
			out = append(out, text[i])
			continue
		}
		if i++; i == len(text) || text[i] < 'a' || text[i] > 'z' {
			return raw
		}
		out = append(out, text[i]-'a'+'A')
	}
	quoted, err := jsontext.AppendQuote(nil, out)
	if err != nil {
		return raw
	}
	return quoted
}

// wellKnown reports whether protojson has a form of its own for the message.
func wellKnown(name string) bool { return WellKnownForm(name) != "" }

// WellKnownForm says what a well-known type, such as google.protobuf.Timestamp, looks
// like as JSON; "" for every other message.
func WellKnownForm(name string) string {
	switch name {
	case "google.protobuf.Timestamp":
		return "a time of RFC 3339, such as 2026-01-02T15:04:05Z"
	case "google.protobuf.Duration":
		return "a duration such as 1.5s"
	case "google.protobuf.Struct":
		return "an object"
	case "google.protobuf.Value":
		return "a JSON value"
	case "google.protobuf.ListValue":
		return "an array"
	case fieldMask:
		return "field names, separated by commas"
	case "google.protobuf.Empty":
		return "an empty object"
	case "google.protobuf.BoolValue":
		return "true or false"
	case "google.protobuf.StringValue":
		return "a string"
	case "google.protobuf.BytesValue":
		return "a base64 string"
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue":
		return "a number"
	case "google.protobuf.Int32Value", "google.protobuf.Int64Value",
		"google.protobuf.UInt32Value", "google.protobuf.UInt64Value":
		return "a whole number"
	default:
		return ""
	}
}
