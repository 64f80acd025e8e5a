package responseitem

import (
	"slices"
	"strings"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Completed is the state of an item that is whole.
const Completed = "completed"

// Of returns what a chat's message says as items without ids: what a function gave, or
// what was said and then each call. There is at least one.
func Of(m *edgev1.ChatMessage) []*edgev1.ResponseItem {
	if m.GetRole() == "tool" || m.GetRole() == typeFunction {
		call := m.GetToolCallId()
		if call == "" {
			call = m.GetName()
		}
		return []*edgev1.ResponseItem{{Type: Output, Status: Completed, CallId: call, Output: &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Text{Text: words(m)}}}}
	}
	var out []*edgev1.ResponseItem
	if parts := partsOf(m); len(parts) > 0 || len(m.GetToolCalls()) == 0 {
		out = append(out, &edgev1.ResponseItem{
			Type: Message, Status: Completed, Role: m.GetRole(),
			Content: &edgev1.ResponseContent{Content: &edgev1.ResponseContent_Parts{Parts: &edgev1.ResponsePartList{Parts: parts}}},
		})
	}
	for _, call := range m.GetToolCalls() {
		arguments := call.GetFunction().GetArguments()
		out = append(out, &edgev1.ResponseItem{Type: Call, Status: Completed, CallId: call.GetId(), Name: call.GetFunction().GetName(), Arguments: &arguments})
	}
	return out
}

// Without takes the item at a place among those that Of returns out of m, and reports
// whether something is left of it.
func Without(m *edgev1.ChatMessage, place int) bool {
	if len(Of(m)) == 1 {
		return false
	}
	if said := len(Of(m)) - len(m.GetToolCalls()); place >= said {
		m.ToolCalls = slices.Concat(m.GetToolCalls()[:place-said], m.GetToolCalls()[place-said+1:])
	} else {
		m.Content, m.Refusal = nil, nil
	}
	return true
}

func partsOf(m *edgev1.ChatMessage) []*edgev1.ResponsePart {
	var out []*edgev1.ResponsePart
	add := func(text string) {
		part := &edgev1.ResponsePart{Type: partInput, Text: &text}
		if m.GetRole() == roleAssistant {
			part.Type, part.Annotations = PartText, new(edgev1.ResponseAnnotations)
		}
		out = append(out, part)
	}
	if text := m.GetContent().GetText(); text != "" {
		add(text)
	}
	for _, p := range m.GetContent().GetParts().GetParts() {
		add(p.GetText())
	}
	if m.GetRefusal() != "" {
		out = append(out, &edgev1.ResponsePart{Type: "refusal", Refusal: m.Refusal})
	}
	return out
}

func words(m *edgev1.ChatMessage) string {
	if m.GetContent().GetParts() == nil {
		return m.GetContent().GetText()
	}
	var all []string
	for _, p := range m.GetContent().GetParts().GetParts() {
		all = append(all, p.GetText())
	}
	return strings.Join(all, "\n")
}
