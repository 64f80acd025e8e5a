package gateway

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// headerAnthropicVersion is sent by Anthropic's clients with everything, and by nobody
// else.
const headerAnthropicVersion = "Anthropic-Version"

// The bounds of a page of models, as Anthropic has them, and of the pages that are
// gathered for one.
const (
	defaultModelPage, maxModelPage = 20, 1000
	maxModelPages                  = 10
)

// anthropicModel is a model as Anthropic's clients know it. What is not known here is
// null, as it is there.
type anthropicModel struct {
	Type           string    `json:"type"`
	ID             string    `json:"id"`
	DisplayName    string    `json:"display_name"`
	CreatedAt      time.Time `json:"created_at"`
	Lifecycle      string    `json:"lifecycle"`
	MaxInputTokens *int32    `json:"max_input_tokens"`
	MaxTokens      *int32    `json:"max_tokens"`
	Capabilities   *struct{} `json:"capabilities"`
	Line           *string   `json:"line"`
	DeprecatedAt   *string   `json:"deprecated_at"`
	RetiresAt      *string   `json:"retires_at"`
}

type anthropicModels struct {
	Data    []anthropicModel `json:"data"`
	HasMore bool             `json:"has_more"`
	FirstID *string          `json:"first_id"`
	LastID  *string          `json:"last_id"`
}

// anthropicRequest reports whether a request is of one of Anthropic's clients: on its
// own paths, and on those of models that it shares with OpenAI's by its header.
func anthropicRequest(r *http.Request) bool {
	return messagesPath(r.URL.Path) || modelsPath(r.URL.Path) && r.Header.Get(headerAnthropicVersion) != ""
}

func modelsPath(path string) bool {
	return path == "/v1/models" || strings.HasPrefix(path, "/v1/models/")
}

// answersMessages says which models are told of: those that POST /v1/messages takes.
func answersMessages(m *edgev1.ModelCard) bool { return m.GetTask() == "chat" }

func newAnthropicModel(m *edgev1.ModelCard) anthropicModel {
	return anthropicModel{
		Type: "model", ID: m.GetId(), DisplayName: m.GetId(), CreatedAt: time.Unix(m.GetCreated(), 0).UTC(), Lifecycle: "active",
		MaxInputTokens: m.ContextLength, MaxTokens: m.ContextLength,
	}
}

// models answers the paths of models in the shape that the client reads.
func (h *handler) models(w *writer, r *http.Request, rt *route) {
	switch {
	case !anthropicRequest(r):
		h.transcode(w, r)
	case rt.rpc == edgev1.OpenAIService_GetModel_FullMethodName:
		h.anthropicModel(w, r)
	default:
		h.anthropicModels(w, r)
	}
}

// anthropicModels answers GET /v1/models to Anthropic's clients.
func (h *handler) anthropicModels(w *writer, r *http.Request) {
	q, err := readModelQuery(r.URL)
	if err != nil {
		writeError(w, r, err)
		return
	}
	all, header, err := h.chatModels(r)
	copyHeader(w.Header(), header)
	if err == nil {
		var page anthropicModels
		if page, err = q.page(all); err == nil {
			h.answerJSON(w, r, page)
			return
		}
	}
	writeError(w, r, err)
}

// anthropicModel answers GET /v1/models/{id} likewise.
func (h *handler) anthropicModel(w *writer, r *http.Request) {
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/models/"))
	if err != nil {
		writeError(w, r, apierr.New(apierr.InvalidArgument, "the path cannot be read"))
		return
	}
	var header metadata.MD
	resp, err := h.openai.GetModel(h.callContext(r.Context(), r.Header), &edgev1.GetModelRequest{Model: name}, grpc.Header(&header))
	copyHeader(w.Header(), header)
	switch {
	case err != nil:
		writeError(w, r, err)
	case !answersMessages(resp.GetModel()):
		writeError(w, r, apierr.New(apierr.NotFound, "the model %.64q answers no messages", name).WithField("model"))
	default:
		h.answerJSON(w, r, newAnthropicModel(resp.GetModel()))
	}
}

// chatModels returns the models that answer messages, the latest first.
func (h *handler) chatModels(r *http.Request) ([]anthropicModel, metadata.MD, error) {
	ctx, req := h.callContext(r.Context(), r.Header), new(edgev1.ListModelsRequest)
	var all []anthropicModel
	var header metadata.MD
	for range maxModelPages {
		resp, err := h.openai.ListModels(ctx, req, grpc.Header(&header))
		if err != nil {
			return nil, header, err
		}
		for _, m := range resp.GetData() {
			if answersMessages(m) {
				all = append(all, newAnthropicModel(m))
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b anthropicModel) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return all, header, nil
}

// modelQuery says which page of models is wanted.
type modelQuery struct {
	after, before string
	limit         int
	none          bool // of stages that nothing here is in
}

func readModelQuery(u *url.URL) (modelQuery, error) {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return modelQuery{}, apierr.Invalid("query", "query: cannot be read")
	}
	q := modelQuery{after: values.Get("after_id"), before: values.Get("before_id"), limit: defaultModelPage}
	if q.after != "" && q.before != "" {
		return q, apierr.Invalid("before_id", "before_id: must not be there beside after_id")
	}
	if text := values.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > maxModelPage {
			return q, apierr.Invalid("limit", "limit: must be from 1 to %d", maxModelPage)
		}
	}
	stages := slices.Concat(values["lifecycle"], values["lifecycle[]"])
	for _, s := range stages {
		if s != "active" && s != "deprecated" && s != "retired" {
			return q, apierr.Invalid("lifecycle", "lifecycle: must be active, deprecated or retired")
		}
	}
	q.none = len(stages) > 0 && !slices.Contains(stages, "active")
	return q, nil
}

// page returns what is wanted of all.
func (q modelQuery) page(all []anthropicModel) (anthropicModels, error) {
	if q.none {
		all = nil
	}
	out := anthropicModels{Data: []anthropicModel{}}
	from, to := 0, min(q.limit, len(all))
	if id := cmp.Or(q.after, q.before); id != "" {
		at := slices.IndexFunc(all, func(m anthropicModel) bool { return m.ID == id })
		switch {
		case at < 0:
			field := "after_id"
			if q.before != "" {
				field = "before_id"
			}
			return out, apierr.Invalid(field, "%s: there is no such model in the list", field)
		case q.after != "":
			from, to = at+1, min(at+1+q.limit, len(all))
		default:
			from, to = max(0, at-q.limit), at
		}
	}
	out.Data = append(out.Data, all[from:to]...)
	out.HasMore = to < len(all)
	if q.before != "" {
		out.HasMore = from > 0
	}
	if n := len(out.Data); n > 0 {
		out.FirstID, out.LastID = &out.Data[0].ID, &out.Data[n-1].ID
	}
	return out, nil
}

// answerJSON answers with v, which no contract describes.
func (h *handler) answerJSON(w *writer, r *http.Request, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		writeError(w, r, apierr.Wrap(apierr.Internal, err, "the answer cannot be written"))
		return
	}
	w.Header().Set("Content-Type", contentTypeJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // a client that is gone needs no answer
}
