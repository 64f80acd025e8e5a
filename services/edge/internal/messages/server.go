// Package messages answers Anthropic's Messages API from OpenAI's: it turns a
// request into a chat completion and the answer back, so that policies, detectors,
// retrieval and metering are those of a chat. It asks no model itself. Start
// reading at Server; request.go is the way in, answer.go and stream.go the way out.
package messages

import (
	"context"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/chatmember"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// Chat is what this package needs of OpenAI's API.
type Chat interface {
	CreateChatCompletion(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (*edgev1.CreateChatCompletionResponse, error)
	StreamChatCompletion(req *edgev1.CreateChatCompletionRequest, out grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]) error
	CountTokens(ctx context.Context, req *edgev1.CountTokensRequest) (*edgev1.CountTokensResponse, error)
}

// Server is edge.v1.MessagesService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedMessagesServiceServer
	chat    Chat
	members *chatmember.Taker
}

// New returns a server that answers from chat. Members of a chat that came as unknown
// ones are read by codec and judged by validator.
func New(chat Chat, codec *jsoncodec.Codec, validator protovalidate.Validator) *Server {
	return &Server{chat: chat, members: chatmember.New(codec, validator, memberNames())}
}

func (s *Server) chatRequest(req *edgev1.CreateMessageRequest) (*edgev1.CreateChatCompletionRequest, error) {
	chat, err := chatRequest(req)
	if err != nil {
		return nil, err
	}
	return chat, s.members.Take(chat)
}

// CreateMessage answers a conversation.
func (s *Server) CreateMessage(ctx context.Context, req *edgev1.CreateMessageRequest) (*edgev1.CreateMessageResponse, error) {
	chat, err := s.chatRequest(req)
	if err != nil {
		return nil, err
	}
	at := stops(chat)
	answer, err := s.chat.CreateChatCompletion(ctx, chat)
	if err != nil {
		return nil, err
	}
	return message(answer, at), nil
}

// StreamMessage answers a conversation piece by piece.
func (s *Server) StreamMessage(req *edgev1.CreateMessageRequest, out grpc.ServerStreamingServer[edgev1.StreamMessageResponse]) error {
	chat, err := s.chatRequest(req)
	if err != nil {
		return err
	}
	usage := true
	chat.StreamOptions = &edgev1.StreamOptions{IncludeUsage: &usage}
	w := newWriter(out, stops(chat))
	if err := s.chat.StreamChatCompletion(chat, w); err != nil {
		return err
	}
	return w.end()
}

// CountMessageTokens counts the tokens of a conversation.
func (s *Server) CountMessageTokens(ctx context.Context, req *edgev1.CountMessageTokensRequest) (*edgev1.CountMessageTokensResponse, error) {
	messages, err := conversation(req.GetSystem(), req.GetMessages())
	if err != nil {
		return nil, err
	}
	tools, err := chatTools(req.GetTools())
	if err != nil {
		return nil, err
	}
	if raw, given := req.GetExtra()[memberMemory]; given && raw != "null" {
		return nil, invalid(memberMemory, "cannot be counted: how much of it there is room for is known when it is answered")
	}
	counted, err := s.chat.CountTokens(ctx, &edgev1.CountTokensRequest{Model: req.GetModel(), Messages: messages, Tools: tools, Extra: req.GetExtra()})
	if err != nil {
		return nil, err
	}
	return &edgev1.CountMessageTokensResponse{InputTokens: counted.GetPromptTokens()}, nil
}

// answerID makes an answer's id one of a message. What follows the hyphen says
// whose it is, for feedback, and stays.
func answerID(id string) string { return idPrefix + strings.TrimPrefix(id, chatPrefix) }

const (
	idPrefix   = "msg-"
	chatPrefix = "chatcmpl-"
)
