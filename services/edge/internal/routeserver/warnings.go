package routeserver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/mcphttp"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// warnings is what may be wrong with a route that is accepted: models that are not there
// or are for something else, fallbacks to what has failed, a match that nothing fulfils, and
// what has no effect.
func (s *Server) warnings(r *route.Route) []string {
	var out []string
	var asked []string
	ask := func(model string, generates bool) {
		if model == "" || slices.Contains(asked, model) {
			return
		}
		asked = append(asked, model)
		switch task, known := s.Task(model); {
		case !known:
			out = append(out, "there is no model "+strconv.Quote(model)+" now")
		case generates && task != commonv1.Task_TASK_UNSPECIFIED && task != commonv1.Task_TASK_CHAT:
			out = append(out, fmt.Sprintf("the model %q is for %s, and answers no chat and no completion", model, purpose(task)))
		}
	}
	for _, m := range r.Fallback.Models {
		ask(m, true)
	}
	ask(r.Model, len(r.Match.Operations) > 0 && !slices.ContainsFunc(r.Match.Operations, func(o route.Operation) bool {
		return o != route.Chat && o != route.Completion
	}))
	ask(r.Mirror.Model, true)
	if r.Model == "" && !slices.Contains(r.Fallback.On, route.ModelNotFound) { // else it may be for names that are none
		for _, m := range r.Match.Models {
			if _, known := s.Task(m); !known && !strings.Contains(m, "*") {
				out = append(out, fmt.Sprintf("match.models: there is no model %q now", m))
			}
		}
	}
	return slices.Concat(out, s.sameAgain(r), mirrored(r), unmet(&r.Match), r.Idle())
}

// sameAgain says which fallbacks lead to the version that has failed before they are
// asked: that of all the models that the route is about, or of a fallback before.
func (s *Server) sameAgain(r *route.Route) []string {
	targets := r.Match.Models
	if r.Model != "" {
		targets = []string{r.Model}
	}
	var out []string
	for i, m := range r.Fallback.Models {
		digest := s.Digest(m)
		if digest == "" {
			continue
		}
		other := func(model string) bool { return s.Digest(model) != digest }
		same := ""
		if len(targets) > 0 && !slices.ContainsFunc(targets, other) {
			same = targets[0]
		} else if j := slices.IndexFunc(r.Fallback.Models[:i], func(before string) bool { return !other(before) }); j >= 0 {
			same = r.Fallback.Models[j]
		}
		if same != "" {
			out = append(out, fmt.Sprintf("the fallback %q leads to the same version as %q now: where that has failed, it is of no use", m, same))
		}
	}
	return out
}

// mirrored says that a route has nothing to copy: what is asked of the mirror's own model
// is not asked twice.
func mirrored(r *route.Route) []string {
	targets := r.Match.Models
	if r.Model != "" {
		targets = []string{r.Model}
	}
	if r.Mirror.Model == "" || len(targets) == 0 || slices.ContainsFunc(targets, func(m string) bool { return m != r.Mirror.Model }) {
		return nil
	}
	return []string{fmt.Sprintf("mirror.model: nothing is copied to %q, which the requests are for themselves", r.Mirror.Model)}
}

func purpose(t commonv1.Task) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "TASK_"))
}

// unmet says which patterns for paths no request fulfils that routes are about.
func unmet(m *route.Match) []string {
	operations := m.Operations
	if len(operations) == 0 {
		operations = route.Operations()
	}
	var out []string
	for _, pattern := range m.Paths {
		if !slices.ContainsFunc(operations, func(o route.Operation) bool {
			return slices.ContainsFunc(ways(o), func(way string) bool { return route.Meet(pattern, way) })
		}) {
			out = append(out, fmt.Sprintf("match.paths: no request for %s comes by %q", words(operations), pattern))
		}
	}
	return out
}

func words(operations []route.Operation) string {
	out := make([]string, len(operations))
	for i, o := range operations {
		out[i] = string(o)
	}
	return strings.Join(out, ", ")
}

// ways is every path of REST and every gRPC method by which a request for the operation
// comes, as patterns.
func ways(o route.Operation) []string {
	chat := []string{
		"/v1/chat/completions", "/v1/responses", "/v1/messages", mcphttp.Path,
		edgev1.OpenAIService_CreateChatCompletion_FullMethodName, edgev1.OpenAIService_StreamChatCompletion_FullMethodName,
		edgev1.ResponsesService_CreateResponse_FullMethodName, edgev1.ResponsesService_StreamResponse_FullMethodName,
		edgev1.MessagesService_CreateMessage_FullMethodName, edgev1.MessagesService_StreamMessage_FullMethodName,
	}
	switch o {
	case route.Chat:
		return chat
	case route.Completion:
		return []string{"/v1/completions", edgev1.OpenAIService_CreateCompletion_FullMethodName, edgev1.OpenAIService_StreamCompletion_FullMethodName}
	case route.Embed:
		return []string{"/v1/embeddings", edgev1.OpenAIService_CreateEmbedding_FullMethodName}
	case route.Rerank:
		return []string{"/v1/rerank", edgev1.OpenAIService_Rerank_FullMethodName}
	case route.Search: // that of the context builder comes by the chat's
		return append(chat, "/v1/collections/*:search", searchv1.SearchService_Search_FullMethodName)
	}
	return nil
}
