package sim

import (
	"encoding/json"
	"strconv"
)

// Answers are put together by hand: this engine stands in for many, and what it
// costs must not hide what is being measured. All texts that it makes itself
// are plain ASCII without quotes.

func (s *Server) appendHead(b []byte, a *answer, object string) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, a.created, 10)
	b = append(b, `,"model":`...)
	b = append(b, s.quoted...)
	return b
}

func appendUsage(b []byte, a *answer) []byte {
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens+a.generated), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, int64(a.generated), 10)
	b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
	b = strconv.AppendInt(b, int64(a.cached), 10)
	return append(b, "}}"...)
}

// appendRunning writes the counts of one choice so far, as vLLM does.
func appendRunning(b []byte, a *answer, made int) []byte {
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens+made), 10)
	b = append(b, `,"completion_tokens":`...)
	return append(strconv.AppendInt(b, int64(made), 10), '}')
}

func appendFinish(b []byte, reason string) []byte {
	if reason == "" {
		return append(b, `,"finish_reason":null`...)
	}
	b = append(b, `,"finish_reason":"`...)
	b = append(b, reason...)
	return append(b, '"')
}

// appendLogprobs gives every piece of text the probability one half: shape, not
// meaning.
func appendLogprobs(b []byte, a *answer, pieces ...string) []byte {
	if !a.logprobs {
		return append(b, `,"logprobs":null`...)
	}
	const half = "-0.6931472"
	if !a.chat {
		b = append(b, `,"logprobs":{"tokens":`...)
		b = appendJSON(b, pieces)
		b = append(b, `,"token_logprobs":[`...)
		for i := range pieces {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, half...)
		}
		return append(b, `],"top_logprobs":null,"text_offset":null}`...)
	}
	b = append(b, `,"logprobs":{"content":[`...)
	for i, p := range pieces {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"token":`...)
		b = appendJSON(b, p)
		b = append(b, `,"logprob":`+half+`,"bytes":null,"top_logprobs":[]}`...)
	}
	return append(b, `]}`...)
}

func appendReceived(b []byte, a *answer) []byte {
	if a.received == nil {
		return b
	}
	b = append(b, `,"sim_received":`...)
	return append(b, a.received...)
}

func appendToolCall(b []byte, a *answer) []byte {
	b = append(b, `,"tool_calls":[{"index":0,"id":"call-`...)
	b = append(b, a.id...)
	b = append(b, `","type":"function","function":{"name":`...)
	b = appendJSON(b, a.tool)
	return append(b, `,"arguments":"{\"simulated\":true}"}}]`...)
}

func appendJSON(b []byte, v any) []byte {
	out, err := json.Marshal(v)
	if err != nil { // strings and lists of them always have a JSON form
		return append(b, "null"...)
	}
	return append(b, out...)
}
