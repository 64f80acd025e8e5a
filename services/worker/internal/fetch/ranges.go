package fetch

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// rangeHeader asks for what r asks for.
func rangeHeader(header http.Header, r Request) http.Header {
	header = header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Accept-Encoding", "identity")
	if r.Offset > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(r.Offset, 10)+"-")
		if r.Validator != "" {
			header.Set("If-Range", r.Validator)
		}
	}
	return header
}

// contentOf reads the head of an answer; the body is the caller's.
func contentOf(resp *http.Response, r Request) (*Content, error) {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
			return nil, permanent(nil, "the answer is encoded although that was not asked for")
		}
		return &Content{Size: resp.ContentLength, Validator: validator(resp.Header)}, nil
	case code == http.StatusPartialContent:
		return partOf(resp, r)
	case code == http.StatusRequestedRangeNotSatisfiable && r.Offset > 0:
		return nil, restart("the source has no byte %d", r.Offset)
	default:
		return nil, statusError(resp)
	}
}

// partOf believes an answer with a part only when it is the part asked for.
func partOf(resp *http.Response, r Request) (*Content, error) {
	first, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
	v := validator(resp.Header)
	switch {
	case r.Offset == 0:
		return nil, permanent(nil, "the answer is a part although the whole was asked for")
	case !ok || first != r.Offset:
		return nil, restart("the answer is not the part that was asked for")
	case r.Validator != "" && v != "" && v != r.Validator:
		return nil, restart("the content at the source has changed")
	}
	return &Content{Offset: first, Size: size, Validator: v}, nil
}

// parseContentRange reads `bytes first-last/size`, where size may be *.
func parseContentRange(s string) (first, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, total, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, false
	}
	from, to, ok := strings.Cut(span, "-")
	if !ok {
		return 0, 0, false
	}
	first, ok1 := number(from)
	last, ok2 := number(to)
	size = -1
	ok3 := true
	if total != "*" {
		size, ok3 = number(total)
	}
	return first, size, ok1 && ok2 && ok3 && first <= last && (size < 0 || last < size)
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && s != "" && s[0] >= '0' && s[0] <= '9'
}

// validator returns what If-Range may hold: a strong tag, or else a date.
func validator(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

func statusError(resp *http.Response) *Error {
	code := resp.StatusCode
	text := strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e := temporary(nil, "the answer is %s", text)
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
		return e
	case http.StatusUnauthorized, http.StatusForbidden:
		return permanent(nil, "the answer is %s: the worker's credentials for it are missing or not enough", text)
	default:
		return permanent(nil, "the answer is %s", text)
	}
}

// maxRetryAfter bounds how long a source may keep a transfer waiting.
const maxRetryAfter = 5 * time.Minute

// retryAfter reads seconds; dates are rare, and not worth a clock.
func retryAfter(s string) time.Duration {
	n, ok := number(s)
	if !ok {
		return 0
	}
	return min(time.Duration(min(n, math.MaxInt32))*time.Second, maxRetryAfter)
}
