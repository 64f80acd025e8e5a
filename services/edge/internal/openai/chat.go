package openai

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/chattext"
	"github.com/poterne/poterne/services/edge/internal/contextbuilder"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/enduser"
	"github.com/poterne/poterne/services/edge/internal/route"
	"github.com/poterne/poterne/services/edge/internal/usagedetail"
)

const (
	objectChat      = "chat.completion"
	objectChatChunk = "chat.completion.chunk"
	chatIDPrefix    = "chatcmpl-"
	roleAssistant   = "assistant"
)

// CreateChatCompletion answers a conversation.
func (s *Server) CreateChatCompletion(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (*edgev1.CreateChatCompletionResponse, error) {
	setHeader := unaryHeader(ctx)
	ctx, routed, err := s.route(ctx, route.Chat, &req.Model, req, setHeader)
	if err != nil {
		return nil, err
	}
	ctx = inConversation(ctx, req)
	c, rests, err := s.prepareChat(ctx, req, setHeader)
	c.routed = routed
	var answer *edgev1.CreateChatCompletionResponse
	var resp *inferencev1.InvokeResponse
	if err == nil {
		if text := s.textFor(ctx, c, rests); text != nil {
			return s.textAnswer(ctx, c, rests, text)
		}
		answer = new(edgev1.CreateChatCompletionResponse)
		resp, err = s.invoke(ctx, c, answer)
	}
	if errors.Is(err, contextbuilder.ErrNothingFound) {
		if answer, err = s.notFound(ctx, req, setHeader); err == nil {
			rests.keep(ctx, answer)
		}
		return answer, err
	}
	if err != nil {
		return nil, err
	}
	s.complete(ctx, c, rests, answer, resp)
	if err := s.inspectAnswer(ctx, c.model, answer); err != nil {
		return nil, err
	}
	s.cite(ctx, rests, answer)
	rests.keep(ctx, answer)
	return answer, nil
}

// complete gives an answer its name, and what OpenAI's clients look for.
func (s *Server) complete(ctx context.Context, c call, rests *rests, answer *edgev1.CreateChatCompletionResponse, resp *inferencev1.InvokeResponse) {
	answer.Model = c.routed.model(c.model)
	answer.Object = objectChat
	answer.Id = s.responseID(ctx, chatIDPrefix, resp.GetServedBy())
	answer.Created = or(c.plan.created(answer.GetCreated()), s.now())
	if answer.GetUsage() == nil {
		answer.Usage = usagedetail.Message(resp.GetUsage())
	}
	usagedetail.Complete(answer.GetUsage())
	delete(answer.GetUsage().GetExtra(), memberCost) // an engine's is not the gateway's
	for _, choice := range answer.GetChoices() {
		completeMessage(choice, rests.on)
	}
}

// completeMessage gives a message what OpenAI's clients look for: a role, and
// content that is at least null.
func completeMessage(choice *edgev1.ChatChoice, annotations []*edgev1.Annotation) {
	if choice.GetMessage() == nil {
		choice.Message = new(edgev1.ChatMessage)
	}
	m := choice.GetMessage()
	m.Role = or(m.GetRole(), roleAssistant)
	if m.GetContent() == nil {
		m.Content = new(edgev1.MessageContent)
	}
	m.Annotations = slices.Concat(annotations, m.GetAnnotations())
}

// StreamChatCompletion answers a conversation piece by piece. What the answer
// rests on is in the first delta of each choice.
func (s *Server) StreamChatCompletion(req *edgev1.CreateChatCompletionRequest, out grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]) error {
	wantUsage := req.GetStreamOptions().GetIncludeUsage()
	ctx, routed, err := s.route(out.Context(), route.Chat, &req.Model, req, out.SetHeader)
	if err != nil {
		return err
	}
	ctx = inConversation(ctx, req)
	c, rests, err := s.prepareChat(ctx, req, out.SetHeader)
	if err != nil && !errors.Is(err, contextbuilder.ErrNothingFound) {
		return err
	}
	c.routed = routed
	whole, recorder := rests.talk.Record(out)
	if err != nil {
		err = s.streamNotFound(ctx, req, whole, wantUsage)
	} else {
		err = s.streamChat(ctx, req, whole, c, rests, wantUsage)
	}
	if err != nil || recorder == nil {
		return err
	}
	rests.talk.Keep(ctx, recorder.Message())
	return nil
}

// streamChat answers a conversation that was prepared.
func (s *Server) streamChat(ctx context.Context, req *edgev1.CreateChatCompletionRequest, out grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse], c call, rests *rests, wantUsage bool) error {
	w := &chatWriter{
		server: s, out: out, req: req, model: c.model, routed: c.routed, wantUsage: wantUsage, rests: rests, plan: c.plan,
		begun: s.Clock.Now(), filter: newFilter(s.Inspector.Of(ctx, detect.Answer, c.model), req.GetN()),
	}
	if rests.asked {
		w.citing = newCiting(s.Context, rests)
	} else {
		w.spliced = w.splicer(ctx)
		defer w.spliced.done()
	}
	routed, plan, model := c.routed, c.plan, c.model // and not c: what it has may be large
	usage, err := s.stream(ctx, c, out.SetHeader, w.write)
	if errors.Is(err, errFiltered) {
		return nil
	}
	if errors.Is(err, contextbuilder.ErrNothingFound) {
		return s.streamNotFound(ctx, req, out, wantUsage)
	}
	if w.citing != nil && err == nil {
		defer func() { noteCited(ctx, len(rests.on), w.citing.cited, w.citing.unknown) }()
	}
	if rest := w.citing.end(w.filter.chatEnd()); err == nil && len(rest) > 0 {
		err = out.Send(&edgev1.StreamChatCompletionResponse{Id: w.id, Object: objectChatChunk, Created: w.created, Model: routed.model(model), Choices: rest})
	}
	if err != nil || !wantUsage || w.usageSent || usage == nil {
		return err
	}
	total := usagedetail.Message(usage)
	s.tellBill(ctx, w.by, total, plan, w.begun)
	return out.Send(&edgev1.StreamChatCompletionResponse{
		Id: w.id, Object: objectChatChunk, Created: w.created, Model: routed.model(model), Usage: total,
	})
}

// chatWriter turns the engine's chunks into the caller's.
type chatWriter struct {
	server    *Server
	out       grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]
	req       *edgev1.CreateChatCompletionRequest
	model     string
	routed    *routed
	wantUsage bool
	usageSent bool
	begun     time.Time
	by        *inferencev1.ServedBy
	id        string
	created   int64
	rests     *rests
	started   started
	filter    *filter
	citing    *citing
	plan      *plan
	spliced   *spliced // nil: every chunk is read
}

// begin lets go of what the engine was asked, which may be larger than all else of the
// stream: once an answer has begun nobody asks again. Where there is a plan or a route,
// others have it too.
func (w *chatWriter) begin() {
	if w.plan == nil && w.routed == nil {
		w.req.Messages, w.req.Tools, w.req.Extra = nil, nil, nil
	}
}

// open gives the answer its name, and the engine's time of it.
func (w *chatWriter) open(created int64) {
	w.begin()
	w.model = w.routed.model(w.model)
	w.id = w.server.responseID(w.out.Context(), chatIDPrefix, w.by)
	w.created = or(w.plan.created(created), w.server.now())
	if w.spliced != nil {
		w.spliced.name(w.id, w.created, w.model)
	}
}

func (w *chatWriter) write(by *inferencev1.ServedBy, raw []byte) error {
	w.by = by
	if sent, err := w.sendSpliced(raw); sent {
		return err
	}
	chunk := new(edgev1.StreamChatCompletionResponse)
	if err := w.server.Codec.Unmarshal(raw, chunk); err != nil {
		return engineFailed(err)
	}
	if chunk.GetUsage() != nil {
		// The worker always asks for usage; the caller gets it when they asked too.
		if !w.wantUsage {
			if len(chunk.GetChoices()) == 0 {
				return nil
			}
			chunk.Usage = nil
		} else {
			usagedetail.Complete(chunk.GetUsage())
			w.server.tellCost(w.out.Context(), by, chunk.GetUsage(), w.plan, w.begun)
		}
		w.usageSent = w.wantUsage
	}
	if w.id == "" {
		w.open(chunk.GetCreated())
	}
	chunk.Id, chunk.Created, chunk.Object, chunk.Model = w.id, w.created, objectChatChunk, w.model
	w.start(chunk)
	return w.send(chunk)
}

// send sends a chunk, less what the detectors hold back.
func (w *chatWriter) send(chunk *edgev1.StreamChatCompletionResponse) error {
	if w.filter == nil && w.citing == nil {
		return w.out.Send(chunk)
	}
	w.filter.chat(chunk)
	w.citing.chat(chunk)
	chunk.Choices = slices.DeleteFunc(chunk.GetChoices(), idle)
	if len(chunk.GetChoices()) > 0 || chunk.GetUsage() != nil {
		if err := w.out.Send(chunk); err != nil {
			return err
		}
	}
	if w.filter.over() {
		return errFiltered
	}
	return nil
}

// start gives each choice's first delta what OpenAI's clients look for there: the role,
// which llama-server leaves out of an answer whose first token is half of a character,
// and what the answer rests on.
func (w *chatWriter) start(chunk *edgev1.StreamChatCompletionResponse) {
	for _, choice := range chunk.GetChoices() {
		if w.started.has(choice.GetIndex()) {
			continue
		}
		w.started.add(choice.GetIndex())
		if choice.GetDelta() == nil {
			choice.Delta = new(edgev1.ChatMessage)
		}
		m := choice.GetDelta()
		m.Role = or(m.GetRole(), roleAssistant)
		m.Annotations = slices.Concat(w.rests.on, m.GetAnnotations())
	}
}

// started is the choices of a stream whose first delta has come.
type started [maxChoices / 64]uint64

// has reports whether nothing is to be added to a choice: it has begun, or is none that
// can be asked for.
func (s *started) has(choice int32) bool {
	return choice < 0 || choice >= maxChoices || s[choice/64]&(1<<(choice%64)) != 0
}

// add notes that a choice that has not begun does now.
func (s *started) add(choice int32) { s[choice/64] |= 1 << (choice % 64) }

// maxChoices is the most that a request may ask for.
const maxChoices = 128

// rests is what an answer rests on, once that is known: before its first chunk.
type rests struct {
	on []*edgev1.Annotation
	// asked says that it was to rest on passages.
	asked bool
	// tokens is the prompt's size as the model counted it; 0: it did not.
	tokens int
	// talk keeps the turn; nil: nobody does.
	talk *conversation.Talk
}

// keep keeps the turn with the first of its answers.
func (r *rests) keep(ctx context.Context, answer *edgev1.CreateChatCompletionResponse) {
	if r.talk != nil && len(answer.GetChoices()) > 0 {
		r.talk.Keep(ctx, answer.GetChoices()[0].GetMessage())
	}
}

// prepareChat checks a request, makes it what the policy allows, has the detectors
// and then the context builder work on it, and makes the engine's body of it. The
// request is the handler's own and is used up. Where the answer may be kept already,
// the context builder is asked later.
func (s *Server) prepareChat(ctx context.Context, req *edgev1.CreateChatCompletionRequest, setHeader func(metadata.MD) error) (call, *rests, error) {
	text := chattext.From(ctx).Take()
	if err := checkChat(req); err != nil {
		return call{}, nil, err
	}
	if err := obeyChat(ctx, setHeader, req); err != nil {
		return call{}, nil, err
	}
	user := enduser.Of(req) // as it came: whose requests are alike
	out := &rests{asked: req.GetRetrieval() != nil}
	var err error
	if req.GetMemory() != nil { // before the detectors: they look at all that the model reads
		if out.talk, err = s.Memory.Recall(ctx, req); err != nil {
			return call{}, nil, err
		}
	}
	looked, err := s.inspectChat(ctx, req, setHeader)
	if err != nil {
		return call{}, nil, err
	}
	out.talk.Ask()
	passagesLater(req)
	plan, err := s.planChat(ctx, req, out)
	if err != nil {
		return call{}, nil, err
	}
	if out.asked && plan == nil {
		if _, err := s.retrieve(ctx, req, out); err != nil {
			return call{}, out, err
		}
		audit.From(ctx).SetDocuments(cited(req.GetRetrieval().GetCollection(), out.on))
	}
	var asked []byte
	if text != nil && !looked && plan == nil && unchanged(ctx, req) {
		asked = asAsked(text, req)
	}
	answers := authz.Answers(req)
	if req.GetRetrieval() != nil || req.GetMemory() != nil { // as much of these is packed as the answer leaves room for
		answers = 0
	}
	// The worker decides on these; the engine knows no retrieval, no prompt of the
	// registry and no memory.
	prompt := req.GetPrompt()
	req.Stream, req.Retrieval, req.Prompt, req.Cache, req.Memory = nil, nil, nil, nil, nil
	req.StreamOptions = unknownStreamOptions(req.GetStreamOptions())
	if err := s.gather(ctx, req, prompt); err != nil {
		return call{}, nil, err
	}
	return call{
		model: req.GetModel(), operation: workerv1.Operation_OPERATION_CHAT, user: user, body: req, asked: asked,
		text: "messages", prompt: prompt, extra: req.GetExtra(), maxTokens: authz.RequestedTokens(req), answers: answers, plan: plan, rests: out,
	}, out, nil
}

// cited is the documents that an answer rests on, as collection/document, each once.
func cited(collection string, annotations []*edgev1.Annotation) []string {
	var out []string
	for _, a := range annotations {
		if id := collection + "/" + a.GetDocumentId(); a.GetDocumentId() != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// unknownStreamOptions keeps what the engine may know and the gateway does not.
func unknownStreamOptions(o *edgev1.StreamOptions) *edgev1.StreamOptions {
	if len(o.GetExtra()) == 0 {
		return nil
	}
	return &edgev1.StreamOptions{Extra: o.GetExtra()}
}
