package jsoncodec

// wellKnown reports whether protojson has a form of its own for the message.
func wellKnown(name string) bool { return wellKnownForm(name) != "" }

// wellKnownForm says what a well-known type looks like as JSON, or "".
func wellKnownForm(name string) string {
	switch name {
	case "google.protobuf.Timestamp":
		return "a time such as 2026-01-02T15:04:05Z"
	case "google.protobuf.Duration":
		return "a duration such as 1.5s"
	case "google.protobuf.Struct":
		return "an object"
	case "google.protobuf.Value":
		return "a JSON value"
	case "google.protobuf.ListValue":
		return "an array"
	case "google.protobuf.FieldMask":
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
