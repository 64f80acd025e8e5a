package authz

import (
	"encoding/json"
	"strconv"
	"strings"

	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// aboutOf returns what a request says of itself.
func aboutOf(req any) About {
	return About{Reference: modelReference(req), RequestedTokens: RequestedTokens(req)}
}

// modelReference is what follows the name of the model that a request asks for.
func modelReference(req any) string {
	switch r := req.(type) {
	case *oip.ModelInferRequest:
		return tensorReference(r.GetModelName(), r.GetModelVersion())
	case *oip.ModelMetadataRequest:
		return tensorReference(r.GetName(), r.GetVersion())
	case *oip.ModelReadyRequest:
		return tensorReference(r.GetName(), r.GetVersion())
	case interface{ GetModel() string }:
		return referenceOf(r.GetModel())
	}
	return ""
}

// tensorReference: the Open Inference Protocol has a version in a field of its own,
// 3 or v3.
func tensorReference(name, version string) string {
	if version == "" {
		return referenceOf(name)
	}
	return "v" + strings.TrimPrefix(version, "v")
}

func referenceOf(model string) string {
	_, reference, _ := strings.Cut(model, "@")
	return reference
}

// unbounded is more tokens than any engine generates.
const unbounded = 1 << 40

// RequestedTokens is the most that a request lets be generated, in all of its
// answers: engines differ in which of several bounds they heed, so the largest counts.
// It is 0 when the request does not say.
func RequestedTokens(req any) int64 {
	var most int64
	if r, ok := req.(interface{ GetMaxTokens() int32 }); ok {
		most = int64(r.GetMaxTokens())
	}
	if r, ok := req.(interface{ GetMaxCompletionTokens() int32 }); ok {
		most = max(most, int64(r.GetMaxCompletionTokens()))
	}
	if r, ok := req.(interface{ GetMaxOutputTokens() int32 }); ok {
		most = max(most, int64(r.GetMaxOutputTokens()))
	}
	if r, ok := req.(interface{ GetExtra() map[string]string }); ok {
		for _, name := range TokenMembers() {
			if text, given := r.GetExtra()[name]; given {
				most = max(most, wholeNumber(text))
			}
		}
	}
	return min(most, unbounded) * Answers(req)
}

// MaxAnswers is more answers than any request has.
const MaxAnswers = 1 << 20

// Answers is how many answers a request has generated: for each of its prompts, as
// many as it asks for or are tried to find the best.
func Answers(req any) int64 {
	most := int64(1)
	if r, ok := req.(interface{ GetN() int32 }); ok {
		most = max(most, int64(r.GetN()))
	}
	if r, ok := req.(interface{ GetExtra() map[string]string }); ok {
		for _, name := range AnswerMembers() {
			if text, given := r.GetExtra()[name]; given {
				most = max(most, wholeNumber(text))
			}
		}
	}
	if r, ok := req.(interface{ GetPrompt() *edgev1.TextInput }); ok {
		most = min(most, MaxAnswers) * Prompts(r.GetPrompt())
	}
	return min(most, MaxAnswers)
}

// Prompts is how many texts are to be continued.
func Prompts(p *edgev1.TextInput) int64 {
	items := p.GetList().GetItems()
	if len(items) == 0 {
		return 1
	}
	if _, ok := items[0].GetItem().(*edgev1.TextInputItem_Token); ok {
		return 1
	}
	return int64(len(items))
}

// TokenMembers returns the members of a request, besides those in its contract,
// by which engines are told how much to generate.
func TokenMembers() []string {
	return []string{"max_tokens", "max_completion_tokens", "n_predict", "max_new_tokens", "max_length"}
}

// AnswerMembers returns those, besides n, by which engines are told how many answers
// to generate.
func AnswerMembers() []string {
	return []string{"n", "best_of", "n_cmpl", "num_return_sequences", "num_beams", "beam_width"}
}

// wholeNumber reads a member. What is no number, or less than none, asks for as much
// as there is: so engines take it.
func wholeNumber(text string) int64 {
	if text == "null" {
		return 0
	}
	var n json.Number
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return unbounded
	}
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil && i >= 0 {
		return min(i, unbounded)
	}
	return unbounded
}
