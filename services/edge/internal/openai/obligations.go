package openai

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// memberMinTokens is how some engines are told to generate no less.
const memberMinTokens = "min_tokens"

// obey makes a request what the policy allows. model is the request's own, bound
// bounds each of its answers, so that all together stay within what the policy allows;
// nil where nothing is generated. What was changed is told in the
// header HeaderPolicy. Redaction is for the detectors (inspect.go).
func obey(ctx context.Context, setHeader func(metadata.MD) error, model *string, answers int64, bound func(n int32) bool) error {
	o := obligation.From(ctx)
	if o == (obligation.Set{}) {
		return nil
	}
	var changed []string
	if each := int64(o.MaxTokens) / answers; o.MaxTokens > 0 && bound != nil && each < 1 {
		return apierr.Invalid("n", "the policy lets %d tokens be generated in all, which is less than one for each of %d answers", o.MaxTokens, answers)
	} else if o.MaxTokens > 0 && bound != nil && bound(int32(each)) {
		changed = append(changed, "max_tokens="+strconv.FormatInt(each, 10))
	}
	if o.Model != "" && *model != o.Model {
		*model = o.Model
		changed = append(changed, "model="+o.Model)
	}
	if len(changed) == 0 {
		return nil
	}
	if err := setHeader(metadata.Pairs(HeaderPolicy, strings.Join(changed, ", "))); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

// obeyChat is obey for a conversation.
func obeyChat(ctx context.Context, setHeader func(metadata.MD) error, req *edgev1.CreateChatCompletionRequest) error {
	return obey(ctx, setHeader, &req.Model, authz.Answers(req), func(n int32) bool {
		changed := boundExtra(req.GetExtra(), n)
		if req.MaxCompletionTokens != nil && req.GetMaxCompletionTokens() > n {
			req.MaxCompletionTokens, changed = &n, true
		}
		if req.MaxTokens == nil && req.MaxCompletionTokens == nil || req.GetMaxTokens() > n {
			req.MaxTokens, changed = &n, true
		}
		return changed
	})
}

// obeyCompletion is obey for a text to be continued.
func obeyCompletion(ctx context.Context, setHeader func(metadata.MD) error, req *edgev1.CreateCompletionRequest) error {
	return obey(ctx, setHeader, &req.Model, authz.Answers(req), func(n int32) bool {
		changed := boundExtra(req.GetExtra(), n)
		if req.MaxTokens == nil || req.GetMaxTokens() > n {
			req.MaxTokens, changed = &n, true
		}
		return changed
	})
}

// boundExtra takes out every member, unknown to the gateway, by which an engine
// would be told to generate more than n, and reports whether there was any.
func boundExtra(extra map[string]string, n int32) (changed bool) {
	for _, name := range append(authz.TokenMembers(), memberMinTokens) {
		text, given := extra[name]
		if v, err := strconv.ParseInt(text, 10, 64); given && (err != nil || v < 0 || v > int64(n)) {
			delete(extra, name)
			changed = true
		}
	}
	return changed
}
