package openai

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/inspect"
)

// HeaderRedacted lists the kinds that were taken out of the request, and of an
// answer that is not a stream.
const HeaderRedacted = "x-poterne-redacted"

// finishFiltered is why an answer ended in which something blocks.
const finishFiltered = "content_filter"

// setRedacted tells the caller what was taken out.
func setRedacted(setHeader func(metadata.MD) error, inspections ...*inspect.Inspection) error {
	md := metadata.MD{}
	for _, in := range inspections {
		if kinds := in.Redacted(); kinds != "" {
			md.Append(HeaderRedacted, kinds)
		}
	}
	if len(md) == 0 {
		return nil
	}
	if err := setHeader(md); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

// inspectChat looks at everything that a model will read of a conversation, and may have
// changed it where it looked.
func (s *Server) inspectChat(ctx context.Context, req *edgev1.CreateChatCompletionRequest, setHeader func(metadata.MD) error) (looked bool, _ error) {
	in := s.Inspector.Of(ctx, detect.Request, req.GetModel())
	if in == nil {
		return false, nil
	}
	for _, m := range req.GetMessages() {
		inspectMessage(in, m)
	}
	for _, tool := range req.GetTools() {
		if f := tool.GetFunction(); f != nil {
			f.Json = in.JSON(f.GetJson())
		}
		tool.Type = in.Text(tool.GetType())
		in.Extra(tool.GetExtra())
	}
	if v := req.GetPrompt().GetVariables(); v != nil {
		for name, value := range v {
			v[name] = in.Text(value)
		}
	}
	if r := req.GetRetrieval(); r != nil {
		r.Query = in.Text(r.GetQuery())
	}
	if f := req.GetResponseFormat(); f != nil {
		f.Json = in.JSON(f.GetJson()) // a schema has descriptions
	}
	if f := req.GetToolChoice().GetNamed().GetFunction(); f != nil {
		f.Json = in.JSON(f.GetJson())
	}
	if named := req.GetToolChoice().GetNamed(); named != nil {
		named.Type = in.Text(named.GetType())
		in.Extra(named.GetExtra())
	}
	inspectStop(in, req.GetStop())
	req.User, req.SafetyIdentifier = in.Text(req.GetUser()), in.Text(req.GetSafetyIdentifier())
	in.Extra(req.GetStreamOptions().GetExtra())
	in.Extra(req.GetExtra())
	if err := in.Err(); err != nil {
		return true, err
	}
	return true, setRedacted(setHeader, in)
}

// inspectStop looks at what an answer is to end at.
func inspectStop(in *inspect.Inspection, stop *edgev1.StopSequences) {
	switch v := stop.GetStop().(type) {
	case *edgev1.StopSequences_Text:
		v.Text = in.Text(v.Text)
	case *edgev1.StopSequences_List:
		for i, text := range v.List.GetSequences() {
			v.List.Sequences[i] = in.Text(text)
		}
	}
}

// inspectMessage looks at the texts of a message, whoever wrote it.
func inspectMessage(in *inspect.Inspection, m *edgev1.ChatMessage) {
	if m == nil {
		return
	}
	switch c := m.GetContent().GetContent().(type) {
	case *edgev1.MessageContent_Text:
		c.Text = in.Text(c.Text)
	case *edgev1.MessageContent_Parts:
		for _, part := range c.Parts.GetParts() {
			part.Type, part.Text = in.Text(part.GetType()), in.Texts(part.Text)
			in.Extra(part.GetExtra())
		}
	}
	m.Name, m.ToolCallId = in.Text(m.GetName()), in.Text(m.GetToolCallId())
	m.ReasoningContent = in.Texts(m.ReasoningContent)
	m.Refusal = in.Texts(m.Refusal)
	for _, call := range m.GetToolCalls() {
		call.Id, call.Type = in.Text(call.GetId()), in.Text(call.GetType())
		if f := call.GetFunction(); f != nil {
			f.Name = in.Text(f.GetName())
			if f.GetArguments() != "" {
				args := in.JSON(f.GetArguments())
				f.Arguments = &args
			}
			in.Extra(f.GetExtra())
		}
		in.Extra(call.GetExtra())
	}
	for _, a := range m.GetAnnotations() {
		a.Title = in.Text(a.GetTitle())
		in.Extra(a.GetExtra())
	}
	in.Extra(m.GetExtra())
}

// inspectAnswer looks at a whole answer.
func (s *Server) inspectAnswer(ctx context.Context, model string, answer *edgev1.CreateChatCompletionResponse) error {
	all := s.Inspector.Of(ctx, detect.Answer, model)
	if all == nil {
		return nil
	}
	for _, choice := range answer.GetChoices() {
		in := s.Inspector.Of(ctx, detect.Answer, model)
		inspectChoice(in, choice)
		all.Join(in)
	}
	inspectUsage(all, answer.GetUsage())
	all.Extra(answer.GetExtra())
	return setRedacted(unaryHeader(ctx), all)
}

// inspectUsage looks at what an engine adds to its counts.
func inspectUsage(in *inspect.Inspection, u *edgev1.Usage) {
	in.Extra(u.GetExtra())
	in.Extra(u.GetPromptTokensDetails().GetExtra())
}

// inspectChoice looks at one answer of several. One in which something blocks
// ends there.
func inspectChoice(in *inspect.Inspection, choice *edgev1.ChatChoice) {
	inspectMessage(in, choice.GetMessage())
	in.Extra(choice.GetExtra())
	if in.Changed() {
		choice.Logprobs = nil // they spell the answer out
	}
	if in.Blocked() {
		if m := choice.GetMessage(); m != nil {
			m.ToolCalls, m.Extra = nil, nil
		}
		choice.FinishReason = filtered()
	}
}

// inspectCompletion looks at a whole completion.
func (s *Server) inspectCompletion(ctx context.Context, model string, answer *edgev1.CreateCompletionResponse) error {
	all := s.Inspector.Of(ctx, detect.Answer, model)
	if all == nil {
		return nil
	}
	for _, choice := range answer.GetChoices() {
		in := s.Inspector.Of(ctx, detect.Answer, model)
		choice.Text = in.Text(choice.GetText())
		in.Extra(choice.GetExtra())
		if in.Changed() {
			choice.Logprobs = nil
		}
		if in.Blocked() {
			choice.FinishReason = filtered()
		}
		all.Join(in)
	}
	inspectUsage(all, answer.GetUsage())
	all.Extra(answer.GetExtra())
	return setRedacted(unaryHeader(ctx), all)
}

// inspectContinue looks at a text that is to be continued, and at what else the
// engine is told.
func (s *Server) inspectContinue(ctx context.Context, req *edgev1.CreateCompletionRequest, setHeader func(metadata.MD) error) error {
	if in := s.Inspector.Of(ctx, detect.Request, req.GetModel()); in != nil {
		inspectStop(in, req.GetStop())
		req.User = in.Text(req.GetUser())
		in.Extra(req.GetStreamOptions().GetExtra())
		if err := in.Err(); err != nil {
			return err
		}
	}
	return s.inspectInput(ctx, req.GetModel(), "prompt", req.GetPrompt(), req.GetExtra(), setHeader)
}

// inspectInput looks at the text of a request that is not a conversation.
func (s *Server) inspectInput(ctx context.Context, model, field string, input *edgev1.TextInput, extra map[string]string, setHeader func(metadata.MD) error) error {
	in := s.Inspector.Of(ctx, detect.Request, model)
	if in == nil {
		return nil
	}
	switch v := input.GetInput().(type) {
	case *edgev1.TextInput_Text:
		v.Text = in.Text(v.Text)
	case *edgev1.TextInput_List:
		for _, item := range v.List.GetItems() {
			text, ok := item.GetItem().(*edgev1.TextInputItem_Text)
			if !ok {
				return in.Opaque(field)
			}
			text.Text = in.Text(text.Text)
		}
	}
	in.Extra(extra)
	if err := in.Err(); err != nil {
		return err
	}
	return setRedacted(setHeader, in)
}
