package batches

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// The bounds of trying again.
const (
	firstPause = time.Second
	maxPause   = time.Minute
	// maxBroken is how often a line is asked that fails in a way which may be its own
	// fault. One for which there is no room is asked until the batch's time is over.
	maxBroken = 4
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 20
)

// ask has a line answered, however often that takes; nil when the batch stops before.
func (j *job) ask(ctx context.Context, line Line, w *window) *Result {
	pause, broken := j.pause, 0
	for {
		if err := j.slots.acquire(j.admit, j.batch.Owner.Tenant); err != nil { //nolint:contextcheck // the job's own
			return nil
		}
		a, err := j.once(ctx, line, broken)
		j.slots.release()
		if err == nil {
			j.Metrics.Tried(ctx, a.status)
		}
		wait := pause
		switch kind := kindOf(a, err); {
		case kind == answered:
			w.answered()
			w.hold(j.Clock.Now().Add(spare(a.header)))
			return j.result(line, a)
		case kind == failed && ctx.Err() == nil:
			return j.result(line, a)
		case ctx.Err() != nil, j.admit.Err() != nil:
			return nil // what it says may be of the end alone
		case kind == crowded:
			w.crowded(j.Clock.Now())
			wait = max(wait, a.retryAfter())
		case broken+1 >= maxBroken:
			return j.result(line, a)
		default:
			broken++
		}
		pause = min(2*pause, maxPause)
		// Half of it by chance, so that lines do not come back all at once.
		wait = wait/2 + rand.N(wait/2+1)                //nolint:gosec // nothing secret
		if clock.Sleep(j.admit, j.Clock, wait) != nil { //nolint:contextcheck // the job's own
			return nil
		}
	}
}

type kind int

const (
	answered kind = iota
	crowded       // there is no room: wait
	shaken        // it may go well another time
	failed        // it is the caller's
)

func kindOf(a answer, err error) kind {
	switch {
	case err != nil:
		return crowded
	case a.status/100 == 2:
		return answered
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return crowded
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, statusClosed:
		return shaken
	default:
		return failed
	}
}

// statusClosed is that the caller went away: here, somebody cut the call.
const statusClosed = 499

// answer is what a caller would have seen.
type answer struct {
	status int
	header http.Header
	body   []byte
	over   bool // it is longer than is kept
}

func (a answer) retryAfter() time.Duration {
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, 10*time.Minute)
}

var errHolder = errors.New("batches: it cannot be told for whom the batch is")

// once asks a line of the gateway, as the batch's maker is now. An error says that it
// could not be asked.
func (j *job) once(ctx context.Context, line Line, broken int) (answer, error) {
	p, err := j.Holders.Holder(ctx, j.batch.KeyID, j.addr)
	if err != nil {
		j.refused(err)
		return answer{}, err
	}
	if p.Caller.Tenant != j.batch.Owner.Tenant || p.Caller.Subject != j.batch.Owner.Subject {
		return answer{}, errHolder
	}
	ctx = authn.NewErrand(ctx, authn.Errand{
		Principal: p, ID: fmt.Sprintf("%s.%d.%d", j.batch.ID, line.Number, broken), Batch: j.batch.ID, Line: line.Number,
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.batch.Endpoint, bytes.NewReader(line.Body))
	if err != nil {
		return answer{}, fmt.Errorf("batches: %w", err)
	}
	req.Host, req.RemoteAddr = "poterne.internal", net.JoinHostPort(j.batch.Address, "0")
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"poterne-batch"},
		"X-Request-Id": {j.requestID(line)}, "X-Poterne-Priority": {"batch"},
	}
	rec := &recorder{header: make(http.Header)}
	j.serve(rec, req)
	return answer{status: rec.code(), header: rec.header, body: rec.body.Bytes(), over: rec.over}, nil
}

// serve has the gateway answer; an answer that it breaks off is a failure.
func (j *job) serve(rec *recorder, req *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			*rec = recorder{header: make(http.Header), status: http.StatusBadGateway}
		}
	}()
	j.Handler.ServeHTTP(rec, req)
}

// requestID finds a line's request in the audit trail, the ledger and logs.
func (j *job) requestID(line Line) string { return fmt.Sprintf("%s-%d", j.batch.ID, line.Number) }

// result is the answer as it stands in a file, in OpenAI's shape.
func (j *job) result(line Line, a answer) *Result {
	if a.over {
		return j.unanswered(line, "response_too_large", fmt.Sprintf("The answer is longer than %d bytes.", maxAnswer))
	}
	body := jsontext.Value(bytes.Clone(a.body))
	if body.Compact() != nil { // it was no JSON
		body = quote(string(a.body))
	}
	data := fmt.Appendf(nil, `{"id":%s,"custom_id":%s,"response":{"status_code":%d,"request_id":%s,"body":%s},"error":null}`+"\n",
		quote(j.resultID(line)), quote(line.CustomID), a.status, quote(j.requestID(line)), body)
	return &Result{Line: line.Number, OK: a.status/100 == 2, Data: data}
}

// unanswered stands in the file for a line that has no answer.
func (j *job) unanswered(line Line, code, message string) *Result {
	data := fmt.Appendf(nil, `{"id":%s,"custom_id":%s,"response":null,"error":{"code":%s,"message":%s}}`+"\n",
		quote(j.resultID(line)), quote(line.CustomID), quote(code), quote(message))
	return &Result{Line: line.Number, Data: data}
}

func (j *job) resultID(line Line) string {
	return fmt.Sprintf("batch_req_%s_%d", j.batch.ID[len(idPrefix):], line.Number)
}

func quote(s string) jsontext.Value {
	out, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\ufffd")) // which is all that can be wrong
	return out
}

// recorder is a response that is kept.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	over   bool
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.over = r.over || r.body.Len()+len(p) > maxAnswer; !r.over {
		r.body.Write(p)
	}
	return len(p), nil
}

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}
