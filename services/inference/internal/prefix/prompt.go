// Package prefix estimates which worker's engine still has the beginning of a
// prompt in its cache. It reads of a request only where the prompt lies, hashes
// its blocks as a chain, and remembers which copy was given which blocks. It
// knows no engine's own blocks and asks nobody; start reading at Read and Index.
package prefix

import "bytes"

// Prompt is where a request's body holds what the engine reads first, and what
// bounds its answer. The slices share the body's memory.
type Prompt struct {
	// Salt is the value of `cache_salt`, by which vLLM keeps the caches of
	// different callers apart.
	Salt []byte
	// Tools is the value of `tools`, which chat templates put before the
	// conversation.
	Tools []byte
	// Text is the value of `messages` or `prompt`, as JSON text.
	Text []byte
	// MaxTokens bounds the answer; 0 when the request does not say.
	MaxTokens int
}

// Read finds the prompt in a request of OpenAI's chat or completion API. It
// does not check the body, which the worker does: of one that is no JSON object
// it finds nothing, or something that means nothing, and no harm is done.
// Members inside of others are not looked at; of one that is repeated the last
// counts.
func Read(body []byte) Prompt {
	var p Prompt
	members(body, func(name []byte, start, end int) { p.take(name, body[start:end]) })
	return p
}

// Messages returns where the items of a chat's `messages` begin, the place behind
// the bracket, and whether there are any; -1 when the body has no such list.
func Messages(body []byte) (at int, empty bool) {
	at = -1
	members(body, func(name []byte, start, _ int) {
		if string(name) != "messages" {
			return
		}
		if at = -1; body[start] == '[' {
			at = start + 1
		}
	})
	if at < 0 {
		return -1, false
	}
	first := blank(body, at)
	return at, first < len(body) && body[first] == ']'
}

// members tells of each member of a JSON object where its value lies, as long as
// the text is one.
func members(body []byte, tell func(name []byte, start, end int)) {
	i := blank(body, 0)
	if i >= len(body) || body[i] != '{' {
		return
	}
	for i++; ; {
		i = blank(body, i)
		if i >= len(body) || body[i] != '"' {
			return
		}
		end := text(body, i)
		if end < 0 {
			return
		}
		name := body[i+1 : end-1]
		i = blank(body, end)
		if i >= len(body) || body[i] != ':' {
			return
		}
		i = blank(body, i+1)
		end = value(body, i)
		if end < 0 {
			return
		}
		tell(name, i, end)
		i = blank(body, end)
		if i >= len(body) || body[i] != ',' {
			return
		}
		i++
	}
}

func (p *Prompt) take(name, v []byte) {
	switch string(name) {
	case "messages", "prompt":
		p.Text = v
	case "tools":
		p.Tools = v
	case "cache_salt":
		p.Salt = v
	case "max_tokens", "max_completion_tokens":
		p.MaxTokens = number(v)
	}
}

// maxNumber bounds what is read of a number.
const maxNumber = 1 << 24

// number reads a JSON number that is a positive integer; anything else is 0.
func number(v []byte) int {
	n := 0
	for _, c := range v {
		if c < '0' || c > '9' || n > maxNumber {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// text returns the index behind the string that begins at i, or -1 when it does
// not end.
func text(b []byte, i int) int {
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for j := i - 1; b[j] == '\\'; j-- { // the string's own quote ends this
			slashes++
		}
		i++
		if slashes%2 == 0 {
			return i
		}
	}
}

// value returns the index behind the value that begins at i, or -1 when it does
// not end.
func value(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = text(b, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return -1
			}
			i++
			continue
		default:
			i = scalar(b, i)
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// scalar returns the index behind the number or name that begins at i.
func scalar(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case ',', '}', ']', ':', '{', '[', '"', ' ', '\t', '\n', '\r':
			return i
		}
	}
	return i
}
