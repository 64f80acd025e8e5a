// Package batches answers OpenAI's Batch API: a file of requests, each of which is
// asked of the gateway itself, as its maker, when there is room. It decides nothing
// about who may ask what: every line passes what a request over HTTP passes. Start
// reading at Server; batch.go is the states, line.go how a file is read, store.go what
// is kept, runner.go who works.
package batches

import (
	"slices"
	"time"

	"github.com/poterne/poterne/services/edge/internal/files"
)

// Status is how far a batch is.
type Status string

// The statuses, as OpenAI names them.
const (
	Validating Status = "validating"
	InProgress Status = "in_progress"
	Finalizing Status = "finalizing"
	Cancelling Status = "cancelling"
	Failed     Status = "failed"
	Completed  Status = "completed"
	Expired    Status = "expired"
	Cancelled  Status = "cancelled"
)

// Statuses returns every status.
func Statuses() []Status {
	return []Status{Validating, InProgress, Finalizing, Cancelling, Failed, Completed, Expired, Cancelled}
}

// next is what may follow on a status.
func next(s Status) []Status {
	switch s {
	case Validating:
		return []Status{InProgress, Failed, Expired, Cancelling}
	case InProgress:
		return []Status{Finalizing, Failed, Expired, Cancelling}
	case Finalizing:
		return []Status{Completed}
	case Cancelling:
		return []Status{Cancelled}
	case Failed, Completed, Expired, Cancelled:
		return nil
	default:
		return nil
	}
}

// May reports whether to may follow on s.
func (s Status) May(to Status) bool { return slices.Contains(next(s), to) }

// Ended reports whether nothing follows.
func (s Status) Ended() bool { return len(next(s)) == 0 }

// before is the statuses that to may follow on.
func before(to Status) (out []Status) {
	for _, s := range Statuses() {
		if s.May(to) {
			out = append(out, s)
		}
	}
	return out
}

// Problem is one thing that is wrong with a batch.
type Problem struct {
	Code    string `json:"code"`
	Line    int64  `json:"line,omitempty"` // from 1; 0: it is about no line
	Message string `json:"message"`
	Param   string `json:"param,omitempty"`
}

// Batch is a batch as it is kept.
type Batch struct {
	ID    string
	Owner files.Owner
	// KeyID names the API key that it was asked for with. As long as that holds, the
	// batch does. Its secret is nowhere.
	KeyID string
	// Address is where it was asked for from: keys may hold for some networks only.
	Address    string
	Endpoint   string
	InputFile  string
	OutputFile string
	ErrorFile  string
	// OutputTTL is how long files of results last; 0: as others.
	OutputTTL time.Duration
	Metadata  map[string]string
	Status    Status
	Problems  []Problem
	// Total is how many requests there are, once that is known; Completed and Failed
	// were answered.
	Total, Completed, Failed int64

	CreateTime, ExpireTime time.Time
	// The times of statuses; zero: it was never in that.
	InProgressTime, FinalizingTime, CancellingTime, EndTime time.Time
}

// Result is the answer to a line, as it comes to stand in a file.
type Result struct {
	Line int64
	OK   bool
	Data []byte
}
