package engine

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/poterne/poterne/pkg/jsonwalk"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// plain is a request for plain text, whose answer another engine can go on
// with.
type plain struct {
	// limits are the members that bound the answer's tokens, by name.
	limits map[string]int
}

// readPlain reads a request; ok is false when it asks for anything of which the
// text so far does not tell how to go on. Parameters that are not known here are
// such.
func readPlain(op Operation, body []byte) (p plain, ok bool) {
	if !jsonwalk.Valid(body) {
		return plain{}, false
	}
	p.limits = make(map[string]int)
	seen := make(map[string]bool)
	beginning := "prompt"
	if op == Chat {
		beginning = "messages"
	}
	w := jsonwalk.NewWalk(body)
	for {
		raw, at, more := w.Next()
		if !more {
			return p, w.OK() && seen[beginning]
		}
		name, value := string(raw), at.Of(body)
		if seen[name] || !p.takes(op, name, value) {
			return plain{}, false
		}
		seen[name] = true
	}
}

// takes reports whether an answer can be continued with this member in the
// request, and notes the limits.
func (p *plain) takes(op Operation, name string, value []byte) bool {
	switch name {
	case "model", "stream", "stream_options", timingsPerToken, "user", "metadata", "store", "service_tier", "seed",
		"temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
		"repeat_penalty", "logit_bias", "ignore_eos", "cache_prompt", "prompt_cache_key", "safety_identifier":
		return true
	case "messages":
		return op == Chat && endsWithQuestion(value)
	case "prompt":
		_, text := readString(value)
		return op == Completion && text
	case "max_tokens", "max_completion_tokens":
		return p.limit(name, value)
	case "n", "best_of":
		return blank(value) || string(value) == "1"
	case "tools", "functions", "stop", "suffix":
		return blank(value)
	case "tool_choice", "parallel_tool_calls", "function_call":
		return true // means nothing without tools
	case "logprobs", "echo":
		return blank(value) || string(value) == "false"
	case "top_logprobs":
		return blank(value) || string(value) == "0"
	case "response_format":
		return blank(value) || isText(value)
	default:
		return false
	}
}

func (p *plain) limit(name string, value []byte) bool {
	if blank(value) {
		return true
	}
	n, err := strconv.Atoi(string(value))
	p.limits[name] = n
	return err == nil && n > 0
}

// endsWithQuestion reports whether a conversation ends with somebody else than
// the assistant, so that an answer begins a message of its own.
func endsWithQuestion(messages []byte) bool {
	var list []struct {
		Role string `json:"role"`
	}
	if json.Unmarshal(messages, &list) != nil || len(list) == 0 {
		return false
	}
	return list[len(list)-1].Role != roleAssistant
}

const roleAssistant = "assistant"

func isText(format []byte) bool {
	var f struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(format, &f) == nil && f.Type == "text"
}

// prefill is how an engine is given the beginning of its answer.
type prefill int

const (
	// prefillNone: it is not known that it could be.
	prefillNone prefill = iota
	// prefillTrailing: a chat that ends with the assistant's message goes on with
	// it, as of llama-server.
	prefillTrailing
	// prefillFlags: so it does when `continue_final_message` says so, as of vLLM
	// and SGLang.
	prefillFlags
)

// extended returns the request with text as the beginning of the answer, and
// its limits less by used tokens; spent says that nothing is left of a limit. A
// completion's prompt is made longer, whatever the engine.
func (p *plain) extended(op Operation, how prefill, body []byte, text string, used int) (out []byte, spent bool, err error) {
	changed := make(map[string][]byte)
	for name, n := range p.limits {
		if n -= used; n <= 0 {
			spent = true
		}
		changed[name] = strconv.AppendInt(nil, int64(n), 10)
	}
	if text != "" {
		member := "prompt"
		if op == Chat {
			member = "messages"
		}
		members, err := jsonbody.Get(body, member)
		if err != nil {
			return nil, false, badBody(err)
		}
		changed[member] = longer(op, members[member], text)
		if op == Chat && how == prefillFlags {
			changed["add_generation_prompt"], changed["continue_final_message"] = []byte("false"), []byte("true")
		}
	}
	set := make([]jsonbody.Member, 0, len(changed))
	for name, value := range changed {
		set = append(set, jsonbody.Member{Name: name, Value: value})
	}
	out, err = jsonbody.Set(body, func(name []byte) bool { return changed[string(name)] != nil }, set...)
	if err != nil {
		return nil, false, badBody(err)
	}
	return out, spent, nil
}

// longer returns a prompt, or a conversation, with text at its end.
func longer(op Operation, value []byte, text string) []byte {
	quoted := quote(text)
	if op == Completion {
		return append(bytes.Clone(value[:len(value)-1]), quoted[1:]...)
	}
	out := append(bytes.Clone(bytes.TrimRight(value[:len(value)-1], " \t\r\n")), `,{"role":"assistant","content":`...)
	return append(append(out, quoted...), "}]"...)
}
