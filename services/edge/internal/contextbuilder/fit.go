package contextbuilder

import (
	"context"
	"time"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Count counts the tokens of the request's prompt, as it is by then, with the
// model's own tokeniser.
type Count func(ctx context.Context) (int, error)

// How the size of a prompt is known.
const (
	sizedByBytes    = "bytes"    // no tokeniser of bytes makes more tokens than that
	sizedByModel    = "model"    // its tokeniser counted
	sizedByEstimate = "estimate" // it cannot, or not now
)

const (
	// maxCounts bounds how often one prompt is counted: as it was guessed, and as it
	// was corrected by that.
	maxCounts = 3
	// countTime bounds one count; after that sizes are estimated.
	countTime = 2 * time.Second
	// templateSlack is what chat templates add by themselves, in tokens.
	templateSlack = 256
	// margin is added to what was measured of one prompt when it is held against another.
	margin = 1.03
)

// window is what a prompt may hold, in tokens.
type window struct{ length, prompt, passages int }

// fitted is a prompt with the passages that it has room for.
type fitted struct {
	passages []passage
	left     []*searchv1.Hit // that there was no room for
	block    string
	tokens   int // 0: not counted
	by       string
}

// fit puts as many of the hits into the prompt as there is room for.
func (b *Builder) fit(ctx context.Context, s *slot, hits []*searchv1.Hit, w window, order string, count Count) fitted {
	rest := s.bytes() // without passages
	perByte := 1.0 / charsPerToken
	var best fitted
	try := func() fitted {
		room := w.prompt - int(float64(rest)*perByte) - messageOverhead*(1+len(s.req.GetMessages()))
		room = min(room, w.passages)
		if s.variable != "" {
			room = min(room, int(maxVariable*perByte))
		}
		chosen, left := pack(hits, room, perByte)
		f := fitted{passages: arrange(chosen, order), left: left, by: sizedByEstimate}
		f.block = render(f.passages)
		s.put(f.block)
		return f
	}
	for n := range maxCounts {
		f := try()
		total := rest + len(f.block)
		if s.variable == "" && s.req.GetPrompt() == nil && total+messageOverhead*len(s.req.GetMessages())+templateSlack <= w.prompt && len(f.block) <= w.passages && len(f.left) == 0 {
			f.by = sizedByBytes
			return f
		}
		if count == nil || !b.cfg.CountTokens {
			return f
		}
		tokens, err := within(ctx, count)
		if err != nil {
			if best.by != "" {
				s.put(best.block)
				return best
			}
			return f
		}
		f.tokens, f.by = tokens, sizedByModel
		measured := float64(tokens) / float64(max(total, 1))
		fits := tokens <= w.prompt && int(measured*float64(len(f.block))) <= w.passages
		switch {
		case fits && (len(f.left) == 0 || n == maxCounts-1 || measured*margin >= perByte*0.95 || len(f.passages) <= len(best.passages)):
			return f
		case fits:
			best, perByte = f, measured*margin
			continue
		case best.by != "":
			s.put(best.block)
			return best
		case len(f.passages) == 0:
			return f // what is too long is not the passages
		}
		perByte = max(measured, perByte) * margin
	}
	perByte *= 1.25 // it was never right: leave room
	return try()
}

func within(ctx context.Context, count Count) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	return count(ctx)
}

// window returns what the model's prompt may hold.
func (b *Builder) window(length int, req *edgev1.CreateChatCompletionRequest) window {
	if length <= 0 {
		length = b.cfg.DefaultContextLength
	}
	answer := int(max(req.GetMaxCompletionTokens(), req.GetMaxTokens()))
	if answer <= 0 {
		answer = b.cfg.AnswerTokens
	}
	return window{length: length, prompt: length - min(answer, length/2), passages: b.cfg.MaxPassageTokens}
}
