// Package plainchat reads the commonest request from its text, in one pass and without
// reflection: a chat of plain texts with the usual numbers. Everything else is read by
// package jsoncodec, which also says what is wrong with a text: here it is only not read.
// Start reading at Read.
package plainchat

import (
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// maxMessages is the bound of chat.proto.
const maxMessages = 4096

// Read makes m, which is empty, the request that text is, as Codec.UnmarshalAlike does, and
// reports whether it could; m is to be thrown away where it could not. alike is as there.
func Read(text []byte, m *edgev1.CreateChatCompletionRequest) (alike, ok bool) {
	r := reader{text: text, alike: true}
	ok = r.chat(m) && r.end()
	return ok && r.alike, ok
}

// The members of a request that are read here.
const (
	memberModel = 1 << iota
	memberMessages
	memberStream
	memberStreamOptions
	memberMaxTokens
	memberMaxCompletionTokens
	memberTemperature
	memberTopP
	memberN
	memberSeed
	memberPresencePenalty
	memberFrequencyPenalty
	memberUser

	memberRole
	memberContent
	memberIncludeUsage
)

// chat reads the request.
func (r *reader) chat(m *edgev1.CreateChatCompletionRequest) bool {
	seen := r.object(func(name []byte) int {
		switch string(name) {
		case "model":
			m.Model = string(r.words())
			return memberModel
		case "messages":
			m.Messages = r.messages()
			return memberMessages
		case "stream":
			m.Stream = r.boolean()
			return memberStream
		case "stream_options":
			m.StreamOptions = r.streamOptions()
			return memberStreamOptions
		case "max_tokens":
			m.MaxTokens = r.int32()
			return memberMaxTokens
		case "max_completion_tokens":
			m.MaxCompletionTokens = r.int32()
			return memberMaxCompletionTokens
		case "temperature":
			m.Temperature = r.float()
			return memberTemperature
		case "top_p":
			m.TopP = r.float()
			return memberTopP
		case "n":
			m.N = r.int32()
			return memberN
		case "seed":
			m.Seed = r.int64()
			return memberSeed
		case "presence_penalty":
			m.PresencePenalty = r.float()
			return memberPresencePenalty
		case "frequency_penalty":
			m.FrequencyPenalty = r.float()
			return memberFrequencyPenalty
		case "user":
			m.User = string(r.words())
			r.alike = r.alike && m.User != "" // it is left out
			return memberUser
		default:
			return 0
		}
	})
	return seen&memberModel != 0 && seen&memberMessages != 0 || r.fail()
}

// message is what a message of one text is made of, in one piece.
type message struct {
	message edgev1.ChatMessage
	content edgev1.MessageContent
	text    edgev1.MessageContent_Text
}

func (r *reader) messages() []*edgev1.ChatMessage {
	out := make([]*edgev1.ChatMessage, 0, 4)
	r.take('[')
	for more := true; more && r.good(); more = r.next(',') {
		m := new(message)
		m.content.Content, m.message.Content = &m.text, &m.content
		seen := r.object(func(name []byte) int {
			switch string(name) {
			case "role":
				m.message.Role = role(r.words())
				return memberRole
			case "content":
				m.text.Text = string(r.words())
				return memberContent
			default:
				return 0
			}
		})
		if seen != memberRole|memberContent || m.message.GetRole() == "" || len(out) == maxMessages {
			r.fail()
		}
		out = append(out, &m.message)
	}
	r.take(']')
	return out
}

// role returns a role that is known; empty: it is none.
func role(name []byte) string {
	switch string(name) {
	case "user":
		return "user"
	case "assistant":
		return "assistant"
	case "system":
		return "system"
	case "developer":
		return "developer"
	default:
		return ""
	}
}

func (r *reader) streamOptions() *edgev1.StreamOptions {
	out := new(edgev1.StreamOptions)
	r.object(func(name []byte) int {
		if string(name) != "include_usage" {
			return 0
		}
		out.IncludeUsage = r.boolean()
		return memberIncludeUsage
	})
	return out
}
