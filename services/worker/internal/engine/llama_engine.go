package engine

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// llamaEngine is the client with what llama-server needs besides: a request for
// several answers is taken apart, and what llama-server drops in silence is refused:
// tools that the model's template does not know, and members of completions.
type llamaEngine struct {
	*client
	answers *fanOut
	// toolless is set once the engine has told that its template knows no tools.
	toolless atomic.Bool
}

// newLlamaEngine returns the engine; slots is how many requests it runs at once.
func newLlamaEngine(d dialect, slots int) *llamaEngine {
	c := newClient(d)
	return &llamaEngine{client: c, answers: newFanOut(c, slots)}
}

// Facts notes what the model can do, too.
func (e *llamaEngine) Facts(ctx context.Context) (Facts, error) {
	facts, err := e.client.Facts(ctx)
	e.toolless.Store(facts.NoTools)
	return facts, err
}

// Invoke runs a request and returns the whole answer, or answers.
func (e *llamaEngine) Invoke(ctx context.Context, op Operation, body []byte) (Answer, error) {
	if err := e.check(op, body); err != nil {
		return Answer{}, err
	}
	return e.answers.Invoke(ctx, op, body)
}

// Stream passes the answer on as it comes, or the answers.
func (e *llamaEngine) Stream(ctx context.Context, op Operation, body []byte, sink Sink) (*commonv1.TokenUsage, error) {
	if err := e.check(op, body); err != nil {
		return nil, err
	}
	return e.answers.Stream(ctx, op, body, sink)
}

// check refuses what would be dropped: an answer to another question than was asked is
// worse than none.
func (e *llamaEngine) check(op Operation, body []byte) error {
	switch {
	case op == Chat && e.toolless.Load():
		return checkTools(body)
	case op == Completion:
		return checkCompletion(body)
	default:
		return nil
	}
}

// What a completion asks for besides answers to its prompt.
const (
	memberEcho   = "echo"
	memberSuffix = "suffix"
)

// checkCompletion refuses what OpenAI's completions have and llama-server's do not.
func checkCompletion(body []byte) error {
	members, err := jsonbody.Get(body, memberEcho, memberSuffix, memberBestOf, memberN, memberNOwn)
	if err != nil {
		return badBody(err)
	}
	n, err := choicesAsked(members)
	switch {
	case err != nil:
		return err
	case isTrue(members[memberEcho]):
		return apierr.Invalid(memberEcho, "this model's engine does not repeat the prompt; leave echo out, and put the prompt before the answer")
	case !blank(members[memberSuffix]) && len(members[memberSuffix]) > 0:
		return apierr.Invalid(memberSuffix, "this model's engine does not complete up to a suffix; leave suffix out")
	case given(members[memberBestOf]) && readCount(members[memberBestOf]) != int32(n):
		return apierr.Invalid(memberBestOf, "this model's engine does not choose among more answers than it gives; leave best_of out, or let it be n")
	default:
		return nil
	}
}

// checkTools refuses tools, of which the model would not hear.
func checkTools(body []byte) error {
	members, err := jsonbody.Get(body, "tools", "tool_choice")
	if err != nil {
		return badBody(err)
	}
	var tools []json.RawMessage
	isList := json.Unmarshal(members["tools"], &tools) == nil // what is none is the engine's to refuse
	if !isList || len(tools) == 0 || string(members["tool_choice"]) == `"none"` {
		return nil
	}
	return apierr.Invalid("tools", "this model cannot call tools: its chat template has no place for them; leave tools out, or use a model that can")
}

var _ Engine = (*llamaEngine)(nil)
