package outcomes

import "bytes"

// Refused reports whether an engine's answer, or a chunk of one, says that the
// model declined: a choice ends with finish_reason content_filter, or a message
// has a text as its refusal. The JSON is not parsed: within a text a quotation
// mark is escaped, so that what is looked for is found in no text.
func Refused(raw []byte) bool {
	return filtered(raw) || refusal(raw)
}

// filtered looks for what is rare in JSON first: quotation marks are everywhere.
func filtered(raw []byte) bool {
	const rare = `_filter"`
	for from := 0; ; {
		i := bytes.Index(raw[from:], []byte(rare))
		if i < 0 {
			return false
		}
		if before, ok := bytes.CutSuffix(raw[:from+i], []byte(`"content`)); ok {
			if before, ok = bytes.CutSuffix(trimRight(before), []byte(":")); ok && bytes.HasSuffix(trimRight(before), []byte(`"finish_reason"`)) {
				return true
			}
		}
		from += i + len(rare)
	}
}

func refusal(raw []byte) bool {
	const rare = `usal"`
	for from := 0; ; {
		i := bytes.Index(raw[from:], []byte(rare))
		if i < 0 {
			return false
		}
		named := bytes.HasSuffix(raw[:from+i], []byte(`"ref`))
		from += i + len(rare)
		if !named {
			continue
		}
		if rest, ok := bytes.CutPrefix(trimLeft(raw[from:]), []byte(":")); ok {
			rest = trimLeft(rest)
			if len(rest) > 1 && rest[0] == '"' && rest[1] != '"' {
				return true
			}
		}
	}
}

func trimLeft(raw []byte) []byte { return bytes.TrimLeft(raw, " \t\r\n") }

func trimRight(raw []byte) []byte { return bytes.TrimRight(raw, " \t\r\n") }
