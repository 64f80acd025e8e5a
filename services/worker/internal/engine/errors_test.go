package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		want    apierr.Reason
		message string
		field   string
	}{
		{"llama-server, context", 400, `{"error":{"code":400,"message":"request (9031 tokens) exceeds the available context size (2048 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9031,"n_ctx":2048}}`, apierr.ContextLengthExceeded, "9031 tokens", ""},
		{"vLLM, context", 400, `{"object":"error","message":"This model's maximum context length is 8 tokens.","type":"BadRequestError","param":null,"code":400}`, apierr.ContextLengthExceeded, "maximum context length", ""},
		{"OpenAI, context", 400, `{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, apierr.ContextLengthExceeded, "too long", ""},
		{"OpenAI, parameter", 400, `{"error":{"message":"must be at most 2","type":"invalid_request_error","param":"temperature","code":null}}`, apierr.InvalidArgument, "must be at most 2", "temperature"},
		{"Ollama", 400, `{"error":"invalid message"}`, apierr.InvalidArgument, "invalid message", ""},
		{"FastAPI", 422, `{"detail":[{"loc":["body","x"],"msg":"bad"}]}`, apierr.InvalidArgument, "bad", ""},
		{"plain text", 400, "no\x00 such\nthing", apierr.InvalidArgument, "no such thing", ""},
		{"nothing", 400, "", apierr.InvalidArgument, "400 Bad Request", ""},
		{"key refused", 401, `{"error":{"message":"Incorrect API key provided: sk-abc"}}`, apierr.EngineFailed, "this worker's credentials", ""},
		{"model missing", 404, `{"error":{"message":"model not found"}}`, apierr.EngineFailed, "does not have the model", ""},
		{"too large", 413, `{"error":{"message":"body too large"}}`, apierr.PayloadTooLarge, "body too large", ""},
		{"rate limit", 429, `{}`, apierr.Overloaded, "no more requests", ""},
		{"not supported", 501, `{"error":{"message":"no embeddings here"}}`, apierr.Unimplemented, "no embeddings here", ""},
		{"failed on the request", 500, `{"error":{"message":"/home/x/secret: boom"}}`, apierr.EngineFailed, "the engine failed", ""},
		{"crash", 500, `<html>oops</html>`, apierr.Unavailable, "the engine failed", ""},
		{"empty object", 500, `{}`, apierr.Unavailable, "the engine failed", ""},
		{"gateway", 502, `{"error":{"message":"Failed to parse tools: x"}}`, apierr.Unavailable, "the engine failed", ""},
		{"loading", 503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, apierr.Unavailable, "the engine failed", ""},
		{"timeout", 504, `{"error":{"message":"image input is not supported"}}`, apierr.Unavailable, "the engine failed", ""},
		{"llama-server, image", 500, `{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}`, apierr.InvalidArgument, "image input is not supported", ""},
		{"llama-server, reasoning", 500, `{"error":{"code":500,"message":"Unknown reasoning format: zzz","type":"server_error"}}`, apierr.InvalidArgument, "Unknown reasoning format", ""},
		{"llama-server, tools", 500, `{"error":{"code":500,"message":"Failed to parse tools: [json.exception.type_error.304] cannot use at() with number; tools = [\n  5\n]","type":"server_error"}}`, apierr.InvalidArgument, "cannot use at() with number", ""},
		{"llama-server, messages", 500, `{"error":{"code":500,"message":"Failed to parse messages: Missing 'role' in message: {\"content\":\"x\"}","type":"server_error"}}`, apierr.InvalidArgument, "Missing 'role'", ""},
		{"llama-server, both", 500, `{"error":{"code":500,"message":"Cannot use both json_schema and grammar","type":"server_error"}}`, apierr.InvalidArgument, "both json_schema and grammar", ""},
		{"llama-server, long input", 500, `{"error":{"code":500,"message":"input (900 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}`, apierr.ContextLengthExceeded, "900 tokens", ""},
		{"llama-server, its own text", 500, `{"error":{"code":500,"message":"[json.exception.type_error.316] invalid UTF-8 byte","type":"server_error"}}`, apierr.EngineFailed, "the engine failed", ""},
		{"llama-server, its own parse", 500, `{"error":{"code":500,"message":"Failed to parse input at pos 3: <tool>","type":"server_error"}}`, apierr.EngineFailed, "the engine failed", ""},
		{"odd", 302, ``, apierr.EngineFailed, "302", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := apierr.From(classify(tt.status, decodeEngineError([]byte(tt.body)), 0))
			if got.Reason != tt.want || !strings.Contains(got.Message, tt.message) || got.Field != tt.field {
				t.Errorf("got %v %q (field %q)", got.Reason, got.Message, got.Field)
			}
			if strings.Contains(got.Message, "sk-abc") || strings.Contains(got.Message, "/home/x") {
				t.Errorf("the caller is shown %q", got.Message)
			}
		})
	}
	e := apierr.From(classify(400, decodeEngineError([]byte(tests[0].body)), 0))
	if e.Metadata["prompt_tokens"] != "9031" || e.Metadata["context_length"] != "2048" {
		t.Errorf("figures: %v", e.Metadata)
	}
	if e := apierr.From(classify(429, engineError{}, 7*time.Second)); e.RetryAfter != 7*time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
}

// An answer with status 200 that tells an error, or has no choices, is no answer.
func TestAnswersThatAreNone(t *testing.T) {
	for body, want := range map[string]apierr.Reason{
		`{"error":{"message":"upstream is away"}}`:                      apierr.Unavailable,
		`{"error":{"message":"boom","code":500},"usage":{}}`:            apierr.EngineFailed,
		`{"error":{"message":"no such voice","code":400},"choices":[]}`: apierr.InvalidArgument,
		`{"error":{"message":"slow down","code":429}}`:                  apierr.Overloaded,
		`{"error":"text"}`:                   apierr.Unavailable,
		`{}`:                                 apierr.EngineFailed,
		`{"choices":null}`:                   apierr.EngineFailed,
		`{"usage":{"prompt_tokens":5}}`:      apierr.EngineFailed,
		`{"choices":[{}],"error":null}`:      "",
		`{"choices":[],"system":"anything"}`: "",
	} {
		_, err := scripted(t, 200, jsonType, body, false).Invoke(t.Context(), Chat, []byte(`{"messages":[]}`))
		if (err != nil || want != "") && apierr.ReasonOf(err) != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

// FuzzDecodeEngineError: whatever an engine writes, a bounded line comes out.
func FuzzDecodeEngineError(f *testing.F) {
	f.Add([]byte(`{"error":{"message":"x","code":400}}`))
	f.Add([]byte(`{"detail":[1,{"a":"\u0000"}]}`))
	f.Add([]byte("\xff\xfe<html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := decodeEngineError(body)
		if len(e.Message) > maxEngineMessage+8 || strings.ContainsAny(e.Message, "\n\r\x00") {
			t.Fatalf("%q", e.Message)
		}
		if apierr.ReasonOf(classify(400, e, 0)) == apierr.Internal {
			t.Fatal("an engine's error became INTERNAL")
		}
	})
}
