package sim

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
)

const reasoning = "[sim] a simulator does not think"

func (s *Server) unary(ctx context.Context, w http.ResponseWriter, a *answer) error {
	object := "text_completion"
	if a.chat {
		object = "chat.completion"
	}
	b := s.appendHead(make([]byte, 0, 1024), a, object)
	b = append(b, `,"choices":[`...)
	for i := range a.choices {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = s.appendChoice(ctx, b, a, i); err != nil {
			return err
		}
	}
	b = append(b, ']')
	b = appendReceived(appendUsage(b, a), a)
	b = append(b, '}')
	writeBody(w, http.StatusOK, b)
	a.told = a.generated
	s.counts.generatedTokens.Add(int64(a.generated))
	return nil
}

func (s *Server) appendChoice(ctx context.Context, b []byte, a *answer, index int) ([]byte, error) {
	c := a.newChoice(index, s.words)
	pace := s.newPacer()
	var pieces []string
	for c.finish == "" && a.tool == "" {
		if err := pace.wait(ctx); err != nil {
			return nil, err
		}
		piece := a.next(c, s.words)
		c.text.WriteString(piece)
		if a.logprobs {
			pieces = append(pieces, piece)
		}
	}
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	switch {
	case a.tool != "":
		a.generated++
		c.finish = finishTools
		b = append(b, `,"message":{"role":"assistant","content":null`...)
		b = append(appendToolCall(b, a), '}')
	case a.chat:
		b = append(b, `,"message":{"role":"assistant","content":"`...)
		b = append(append(b, c.text.String()...), '"')
		if a.control.Reasoning {
			b = append(b, `,"reasoning_content":"`+reasoning+`"`...)
		}
		b = append(b, '}')
	default:
		b = append(b, `,"text":"`...)
		b = append(append(b, c.text.String()...), '"')
	}
	b = appendFinish(appendLogprobs(b, a, pieces...), c.finish)
	return append(b, '}'), nil
}

// streamer writes the chunks of one streamed answer.
type streamer struct {
	w      http.ResponseWriter
	flush  *http.ResponseController
	buf    []byte
	chunks int
	limit  int // chunks after which the connection is cut; 0: never
}

// errCut says that a stream was cut on purpose.
var errCut = fmt.Errorf("cut on purpose: %w", http.ErrAbortHandler)

func (st *streamer) send() error {
	if st.limit > 0 && st.chunks >= st.limit {
		return errCut
	}
	st.chunks++
	if _, err := st.w.Write(st.buf); err != nil {
		return err
	}
	return st.flush.Flush()
}

func (s *Server) stream(ctx context.Context, w http.ResponseWriter, a *answer, f fault) error {
	h := w.Header()
	h["Content-Type"] = []string{"text/event-stream; charset=utf-8"}
	w.WriteHeader(http.StatusOK)
	st := &streamer{w: w, flush: http.NewResponseController(w), buf: make([]byte, 0, 512), limit: f.disconnectAfter}
	err := s.streamChunks(ctx, st, a)
	s.counts.generatedTokens.Add(int64(a.generated))
	if err == errCut { //nolint:errorlint // the very value
		s.counts.aborted.Add(1)
		s.history.add(a, outcomeAborted)
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
	return err
}

func (s *Server) streamChunks(ctx context.Context, st *streamer, a *answer) error {
	choices := make([]*choice, a.choices)
	for i := range choices {
		choices[i] = a.newChoice(i, s.words)
		if a.chat {
			if err := s.sendRole(st, a, i); err != nil {
				return err
			}
		}
	}
	pace := s.newPacer()
	for open := a.choices; open > 0; {
		if err := pace.wait(ctx); err != nil {
			return err
		}
		if n := a.control.HoldAfter; n > 0 && a.generated >= n {
			hang(ctx)
			return context.Cause(ctx)
		}
		for i, c := range choices {
			if c.finish != "" {
				continue
			}
			if err := s.sendPiece(st, a, i, c); err != nil {
				return err
			}
			if c.finish != "" {
				open--
			}
		}
	}
	if a.includeUsage {
		b := s.appendHead(append(st.buf[:0], "data: "...), a, a.chunkObject())
		b = appendUsage(append(b, `,"choices":[]`...), a)
		b = append(b, "}\n\n"...)
		st.buf = b
		if err := st.send(); err != nil {
			return err
		}
	}
	st.buf = append(st.buf[:0], "data: [DONE]\n\n"...)
	return st.send()
}

func (a *answer) chunkObject() string {
	if a.chat {
		return "chat.completion.chunk"
	}
	return "text_completion"
}

func (s *Server) sendRole(st *streamer, a *answer, index int) error {
	b := s.appendHead(append(st.buf[:0], "data: "...), a, a.chunkObject())
	b = append(b, `,"choices":[{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, `,"delta":{"role":"assistant","content":""`...)
	if a.control.Reasoning {
		b = append(b, `,"reasoning_content":"`+reasoning+`"`...)
	}
	b = append(b, `},"logprobs":null,"finish_reason":null}]`...)
	if index == 0 {
		b = appendReceived(b, a)
	}
	if a.runningUsage {
		b = appendRunning(b, a, 0)
	}
	b = append(b, "}\n\n"...)
	st.buf = b
	err := st.send()
	if err == nil {
		a.told = a.generated
	}
	return err
}

func (s *Server) sendPiece(st *streamer, a *answer, index int, c *choice) error {
	b := s.appendHead(append(st.buf[:0], "data: "...), a, a.chunkObject())
	b = append(b, `,"choices":[{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	piece := ""
	switch {
	case a.tool != "":
		a.generated++
		c.made++
		c.finish = finishTools
		b = append(b, `,"delta":{"content":null`...)
		b = append(appendToolCall(b, a), '}')
	case a.chat:
		piece = a.next(c, s.words)
		b = append(b, `,"delta":{"content":"`...)
		b = append(append(b, piece...), `"}`...)
	default:
		piece = a.next(c, s.words)
		b = append(b, `,"text":"`...)
		b = append(append(b, piece...), '"')
	}
	b = appendFinish(appendLogprobs(b, a, piece), c.finish)
	b = append(b, "}]"...)
	if !a.chat && c.made == 1 && index == 0 {
		b = appendReceived(b, a)
	}
	if a.runningUsage {
		b = appendRunning(b, a, c.made-a.beginning)
	}
	b = append(b, "}\n\n"...)
	st.buf = b
	err := st.send()
	if err == nil {
		a.told = a.generated
	}
	return err
}
