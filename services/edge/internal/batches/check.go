package batches

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// maxProblems is how many problems of a file are told.
const maxProblems = 100

// check reads a whole file of requests for endpoint. It returns how many there are, or
// what is wrong with them; an error is of the reading.
func check(ctx context.Context, in io.Reader, endpoint string, cfg Config) (total int64, problems []Problem, err error) {
	// Half of a digest, since these may be as many and as long as somebody likes.
	type key [16]byte
	seen := make(map[key]int64)
	l := newLines(in, cfg.MaxLineBytes)
	for len(problems) < maxProblems {
		if err := context.Cause(ctx); err != nil {
			return 0, nil, err
		}
		text, number, err := l.next()
		switch {
		case errors.Is(err, io.EOF):
			if total == 0 && len(problems) == 0 {
				problems = append(problems, Problem{Code: "empty_file", Message: "The file has no requests."})
			}
			return total, problems, nil
		case errors.Is(err, errLine):
			return total, append(problems, Problem{
				Code: "line_too_long", Line: number, Message: fmt.Sprintf("A line may have %d bytes.", cfg.MaxLineBytes),
			}), nil
		case err != nil:
			return 0, nil, err
		}
		if total++; total > int64(cfg.MaxLines) {
			return total, append(problems, Problem{
				Code: "too_many_requests", Line: number, Message: fmt.Sprintf("A batch may have %d requests.", cfg.MaxLines),
			}), nil
		}
		line, problem := decode(text, number, endpoint)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		sum := sha256.Sum256([]byte(line.CustomID))
		k := key(sum[:16])
		if first, ok := seen[k]; ok {
			problems = append(problems, Problem{
				Code: "duplicate_custom_id", Line: number, Param: "custom_id", Message: fmt.Sprintf("Line %d has the same custom_id.", first),
			})
			continue
		}
		seen[k] = number
	}
	return total, problems, nil
}
