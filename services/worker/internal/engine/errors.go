package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/poterne/poterne/pkg/apierr"
)

// transportError is what becomes of a connection that failed before the answer
// was whole: another worker may try.
func transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return apierr.Wrap(apierr.Unavailable, err, "the engine does not answer")
}

// engineError is an error as engines write it, in any of their shapes.
type engineError struct {
	Message      string
	Type         string
	Code         string
	Param        string
	PromptTokens int
	ContextSize  int
	// JSON says that the engine itself told what is wrong, so it runs.
	JSON bool
}

const maxEngineMessage = 512

// decodeEngineError reads OpenAI's {"error":{…}}, vLLM's older
// {"object":"error",…}, Ollama's {"error":"…"} and FastAPI's {"detail":…}.
func decodeEngineError(body []byte) engineError {
	var outer struct {
		Error   json.RawMessage `json:"error"`
		Detail  json.RawMessage `json:"detail"`
		Message string          `json:"message"`
		Type    string          `json:"type"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return engineError{Message: clean(string(body))}
	}
	var e engineError
	var text string
	switch {
	case json.Unmarshal(outer.Error, &text) == nil && text != "":
		e = engineError{Message: clean(text)}
	case len(outer.Error) > 0:
		e = decodeErrorObject(outer.Error)
	case outer.Message != "":
		e = engineError{Message: clean(outer.Message), Type: outer.Type}
	case json.Unmarshal(outer.Detail, &text) == nil:
		e = engineError{Message: clean(text)}
	default:
		e = engineError{Message: clean(string(outer.Detail))}
	}
	e.JSON = e.Message != ""
	return e
}

func decodeErrorObject(raw []byte) engineError {
	var e struct {
		Message string          `json:"message"`
		Type    string          `json:"type"`
		Code    json.RawMessage `json:"code"`
		Param   string          `json:"param"`
		Prompt  int             `json:"n_prompt_tokens"`
		Context int             `json:"n_ctx"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return engineError{Message: clean(string(raw))}
	}
	return engineError{
		Message: clean(e.Message), Type: e.Type, Code: strings.Trim(string(e.Code), `"`), Param: e.Param,
		PromptTokens: e.Prompt, ContextSize: e.Context,
	}
}

// clean keeps an engine's words fit to be shown: one line, of bounded length.
func clean(s string) string {
	if len(s) > maxEngineMessage {
		s = s[:maxEngineMessage] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.TrimSpace(s)
}

// contextExceeded reports whether e says that prompt and answer do not fit.
func (e engineError) contextExceeded() bool {
	if e.Type == "exceed_context_size_error" || e.Code == "context_length_exceeded" {
		return true
	}
	m := strings.ToLower(e.Message)
	// The last is llama-server's about an input to embed, with status 500.
	return strings.Contains(m, "maximum context length") || contextLengthBroken(m) || strings.Contains(m, "too large to process") || strings.Contains(m, "context size") && strings.Contains(m, "exceed") ||
		strings.Contains(m, "maximum model length")
}

// contextLengthBroken knows SGLang's "is longer than the model's context length"
// and Ollama's "exceeds the context length".
func contextLengthBroken(message string) bool {
	return strings.Contains(message, "context length") && (strings.Contains(message, "longer than") || strings.Contains(message, "exceeds"))
}

// failedItself reports whether the engine, rather than something before it or
// a lack of capacity, answered that it failed.
func (e engineError) failedItself(status int) bool {
	return status == http.StatusInternalServerError && e.JSON
}

// requestProblem reports whether an engine's internal error tells that the
// request was wrong: llama-server answers 500 to what its parsers throw. The
// texts are as it writes them; others stay the engine's failures, such as
// "Failed to parse input", which is about what the model wrote.
func (e engineError) requestProblem() bool {
	if e.Type == "invalid_request_error" {
		return true
	}
	for _, begin := range []string{
		"Failed to parse messages: ", "Failed to parse tools: ", "Unknown reasoning format: ", "Cannot use both ",
		"image input is not supported", "audio input is not supported", "video input is not supported",
	} {
		if strings.HasPrefix(e.Message, begin) {
			return true
		}
	}
	// What nlohmann's JSON library throws on values of the wrong type; 316 is
	// about text that the engine wants to send.
	return strings.Contains(e.Message, "[json.exception.type_error.") && !strings.Contains(e.Message, "type_error.316]")
}

// statusError reads the engine's error and gives it its place in the taxonomy. It closes
// the answer.
func statusError(ctx context.Context, resp *http.Response) error {
	body, err := errorBody(ctx, resp)
	if err != nil {
		return err
	}
	return classify(resp.StatusCode, decodeEngineError(body), retryAfter(resp.Header))
}

// errorTime bounds how long an engine may take to say what is wrong: its status is known.
const errorTime = 5 * time.Second

// errorBody returns what of the engine's error has come in time. What is read later ends
// with the call, as its connection does.
func errorBody(ctx context.Context, resp *http.Response) ([]byte, error) {
	came := make(chan []byte, 1)
	go func() {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // a part says something, too
		_ = resp.Body.Close()
		came <- body
	}()
	late := time.NewTimer(errorTime) //nolint:forbidigo // as the connection's deadlines
	defer late.Stop()
	select {
	case body := <-came:
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return body, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late.C:
		return nil, nil
	}
}

func classify(status int, e engineError, after time.Duration) error {
	message := e.Message
	if message == "" {
		message = "the engine answered " + strconv.Itoa(status) + " " + http.StatusText(status)
	}
	switch {
	case status == http.StatusTooManyRequests:
		return apierr.New(apierr.Overloaded, "the engine takes no more requests now").WithRetryAfter(max(after, time.Second))
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		// The caller is not at fault and must not be told to change a key; and what
		// the engine says may repeat the key.
		return apierr.Wrap(apierr.EngineFailed, errors.New(http.StatusText(status)), "the engine refuses this worker's credentials")
	case status == http.StatusNotFound:
		return apierr.Wrap(apierr.EngineFailed, errors.New(message), "the engine does not have the model or the operation")
	case status == http.StatusRequestEntityTooLarge:
		return apierr.New(apierr.PayloadTooLarge, "%s", message)
	case status == http.StatusNotImplemented:
		return apierr.New(apierr.Unimplemented, "%s", message)
	case status == http.StatusRequestTimeout:
		return apierr.Wrap(apierr.Unavailable, errors.New(message), "the engine gave up waiting")
	case status >= 400 && (status < 500 || e.failedItself(status)) && e.contextExceeded():
		return contextError(e, message)
	case e.failedItself(status) && e.requestProblem():
		return refused(e, message)
	case e.failedItself(status):
		// The engine runs and says so: another one would fail just as well, and
		// callers' requests that break engines must not visit all of them.
		return apierr.Wrap(apierr.EngineFailed, errors.New(message), "the engine failed on the request")
	case status >= 400 && status < 500:
		return refused(e, message)
	case status >= 500:
		out := apierr.Wrap(apierr.Unavailable, errors.New(message), "the engine failed")
		if after > 0 {
			out = out.WithRetryAfter(after)
		}
		return out
	}
	return apierr.Wrap(apierr.EngineFailed, errors.New(message), "the engine answered with status %d", status)
}

// refused is for a request that the engine calls wrong. Its words are about
// itself, so they are said to be its own.
func refused(e engineError, message string) error {
	out := apierr.New(apierr.InvalidArgument, "%s", message)
	if e.Message != "" {
		out = apierr.New(apierr.InvalidArgument, "the model's engine does not accept this request; it says: %s", e.Message)
	}
	if e.Param != "" {
		out = out.WithField(clean(e.Param))
	}
	return out
}

// contextError says in the gateway's words what does not fit: engines speak to
// those who run them.
func contextError(e engineError, message string) error {
	out := apierr.New(apierr.ContextLengthExceeded, "the input and the answer asked for are longer than the model's context; the engine says: %s", message)
	if e.PromptTokens > 0 && e.ContextSize > 0 {
		out.Message = fmt.Sprintf("the input has %d tokens, and the model's context holds %d: shorten it", e.PromptTokens, e.ContextSize)
	}
	if e.PromptTokens > 0 {
		out = out.WithMetadata("prompt_tokens", strconv.Itoa(e.PromptTokens))
	}
	if e.ContextSize > 0 {
		out = out.WithMetadata("context_length", strconv.Itoa(e.ContextSize))
	}
	return out
}

// streamError is an error that came inside a stream: what was sent before
// stands, so no other worker can take over unless nothing was.
func streamError(e engineError, begun bool) error {
	if e.contextExceeded() {
		return contextError(e, e.Message)
	}
	if code, err := strconv.Atoi(e.Code); err == nil && code >= 400 && code < 500 {
		return classify(code, e, 0)
	}
	if !begun && e.Code == "500" {
		return classify(http.StatusInternalServerError, e, 0)
	}
	return brokenStream(errors.New(e.Message), begun)
}

func brokenStream(err error, begun bool) error {
	if begun {
		return apierr.Wrap(apierr.EngineFailed, err, "the engine failed in the middle of the answer")
	}
	return apierr.Wrap(apierr.Unavailable, err, "the engine failed before it answered")
}

const maxRetryAfter = 10 * time.Minute

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxRetryAfter)
}
