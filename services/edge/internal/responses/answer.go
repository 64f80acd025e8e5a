package responses

import (
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/responseitem"
	"github.com/poterne/poterne/services/edge/internal/usagedetail"
)

// The states of a response, and of its items.
const (
	statusWorking    = "in_progress"
	statusCompleted  = "completed"
	statusIncomplete = "incomplete"
)

const (
	idPrefix   = "resp-"
	chatPrefix = "chatcmpl-"
)

// responseID makes an answer's id one of a response. What follows the hyphen says
// whose it is, for feedback and for those that go on from it, and stays.
func responseID(id string) string { return idPrefix + strings.TrimPrefix(id, chatPrefix) }

// begun is the response to what was asked as it begins.
func begun(a ask, id string, created int64) *edgev1.Response {
	req := a.req
	r := &edgev1.Response{
		Id: responseID(id), Object: "response", CreatedAt: created, Status: statusWorking, Instructions: req.Instructions, Model: req.GetModel(),
		ParallelToolCalls: req.ParallelToolCalls == nil || req.GetParallelToolCalls(), Store: a.store, Temperature: req.Temperature, TopP: req.TopP,
		MaxOutputTokens: req.MaxOutputTokens, Tools: req.GetTools(), ToolChoice: req.GetToolChoice(), Text: req.GetText(), Truncation: "disabled",
		Metadata: req.GetMetadata(), User: req.GetUser(), SafetyIdentifier: req.GetSafetyIdentifier(),
	}
	if r.GetToolChoice() == nil {
		r.ToolChoice = &edgev1.ResponseToolChoice{Choice: &edgev1.ResponseToolChoice_Mode{Mode: "auto"}}
	}
	if r.GetText().GetFormat() == nil {
		r.Text = &edgev1.ResponseText{Format: &commonv1.RawJson{Json: `{"type":"text"}`}}
	}
	if a.conversation != "" {
		r.Conversation = &edgev1.ResponseConversation{Id: a.conversation}
	}
	if req.GetPreviousResponseId() != "" {
		r.PreviousResponseId = &req.PreviousResponseId
	}
	return r
}

// end notes how a response ended.
func (s *Server) end(r *edgev1.Response, finish string, u *edgev1.Usage) {
	r.Status = statusCompleted
	if r.IncompleteDetails = incomplete(finish); r.GetIncompleteDetails() != nil {
		r.Status = statusIncomplete
		if n := len(r.GetOutput()); n > 0 {
			r.Output[n-1].Status = statusIncomplete
		}
	}
	if r.GetStatus() == statusCompleted {
		now := max(s.Clock.Now().Unix(), r.GetCreatedAt()) // engines have clocks of their own
		r.CompletedAt = &now
	}
	if u != nil {
		r.Usage = &edgev1.ResponseUsage{
			InputTokens: u.GetPromptTokens(), OutputTokens: u.GetCompletionTokens(), TotalTokens: u.GetTotalTokens(),
			InputTokensDetails:  &edgev1.ResponseInputTokensDetails{CachedTokens: u.GetPromptTokensDetails().GetCachedTokens()},
			OutputTokensDetails: &edgev1.ResponseOutputTokensDetails{ReasoningTokens: usagedetail.Of(u).GetReasoningTokens()},
		}
	}
}

// incomplete is why a response is not whole; nil where it is.
func incomplete(finish string) *edgev1.ResponseIncomplete {
	switch finish {
	case "length":
		return &edgev1.ResponseIncomplete{Reason: "max_output_tokens"}
	case "content_filter":
		return &edgev1.ResponseIncomplete{Reason: finish}
	}
	return nil
}

// output is what a chat's message says, as items.
func (s *Server) output(m *edgev1.ChatMessage) []*edgev1.ResponseItem {
	var out []*edgev1.ResponseItem
	if thought := m.GetReasoningContent(); thought != "" {
		out = append(out, s.reasoning(thought))
	}
	if said := m.GetContent().GetText(); said != "" || m.GetRefusal() != "" {
		item := s.messageItem(statusCompleted)
		if said != "" {
			add(item, textPart(said, m.GetAnnotations()))
		}
		if m.GetRefusal() != "" {
			add(item, &edgev1.ResponsePart{Type: "refusal", Refusal: m.Refusal})
		}
		out = append(out, item)
	}
	for _, call := range m.GetToolCalls() {
		arguments := call.GetFunction().GetArguments()
		out = append(out, &edgev1.ResponseItem{
			Type: responseitem.Call, Id: s.itemID(responseitem.Call), Status: statusCompleted, CallId: call.GetId(), Name: call.GetFunction().GetName(), Arguments: &arguments,
		})
	}
	return out
}

func (s *Server) reasoning(thought string) *edgev1.ResponseItem {
	item := &edgev1.ResponseItem{Type: responseitem.Reasoning, Id: s.itemID(responseitem.Reasoning), Status: statusCompleted, Content: parts()}
	add(item, &edgev1.ResponsePart{Type: "reasoning_text", Text: &thought})
	return item
}

func (s *Server) messageItem(status string) *edgev1.ResponseItem {
	return &edgev1.ResponseItem{Type: responseitem.Message, Id: s.itemID(responseitem.Message), Status: status, Role: roleAssistant, Content: parts()}
}

func parts() *edgev1.ResponseContent {
	return &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Parts{Parts: new(edgev1.ResponsePartList)}}
}

func add(item *edgev1.ResponseItem, p *edgev1.ResponsePart) {
	list := item.GetContent().GetParts()
	list.Parts = append(list.Parts, p)
}

func textPart(said string, annotations []*edgev1.Annotation) *edgev1.ResponsePart {
	return &edgev1.ResponsePart{Type: responseitem.PartText, Text: &said, Annotations: &edgev1.ResponseAnnotations{Annotations: annotations}}
}
