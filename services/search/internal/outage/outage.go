// Package outage tells failures of what a service stands on, such as a full
// disk or a database that is away, from faults of its own: the caller may try
// again after the former. Start reading at Of.
package outage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// errOutage is in the chain of what Of and OfIndex return.
var errOutage = errors.New("what search stands on cannot be used")

// Is reports whether err is an outage that Of or OfIndex told: its cause is for
// the log alone.
func Is(err error) bool { return errors.Is(err, errOutage) }

// Of returns err as UNAVAILABLE, with err as the cause that is logged, when the
// store or the disk cannot be used now. Any other err it returns as it is.
func Of(err error) error {
	if err == nil || told(err) || !outage(err) {
		return err
	}
	if full(err) {
		return unavailable(err, "the disk that documents are kept on is full: they cannot be written now; try again later")
	}
	return unavailable(err, "the documents cannot be read or written now; try again later")
}

// OfIndex is Of for an error of the index. Whatever an index fails of, it is
// made anew from the documents at the next attempt.
func OfIndex(err error) error {
	if err == nil || told(err) {
		return err
	}
	return unavailable(err, "the collection's index cannot be used now; try again later")
}

// retryAfter is when callers are told to come back: outages are looked at anew
// every second.
const retryAfter = time.Second

func unavailable(err error, message string) error {
	return apierr.Wrap(apierr.Unavailable, fmt.Errorf("%w: %w", errOutage, err), "%s", message).WithRetryAfter(retryAfter)
}

// told reports whether the error says already what a caller is told.
func told(err error) bool {
	_, ok := errors.AsType[*apierr.Error](err)
	return ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// outage knows the drivers' errors by their methods, so that nothing here
// depends on the drivers.
func outage(err error) bool {
	if e, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok && sqlite(e.Code()) {
		return true
	}
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return postgres(e.SQLState())
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok && system(e) {
		return true
	}
	// Not net.Error, which every Errno is, too.
	_, network := errors.AsType[*net.OpError](err)
	_, name := errors.AsType[*net.DNSError](err)
	return network || name || errors.Is(err, driver.ErrBadConn)
}

// full reports whether there is no room on a disk: SQLITE_FULL, PostgreSQL's
// disk_full, or the operating system's word.
func full(err error) bool {
	if e, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok && e.Code()&0xff == 13 {
		return true
	}
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok && e.SQLState() == "53100" {
		return true
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// sqlite reports whether the code is of a database that cannot be used now
// (https://www.sqlite.org/rescode.html).
func sqlite(code int) bool {
	switch code & 0xff { // extended codes keep the primary one in the low byte
	case 5, 6, 7, 8, 10, 13, 14: // busy, locked, no memory, read-only, I/O error, full, cannot open
		return true
	default:
		return false
	}
}

// postgres reports whether the code is of a server that cannot be used now
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func postgres(state string) bool {
	// Connection exception, insufficient resources, operator intervention, system error.
	for _, class := range []string{"08", "53", "57P", "58"} {
		if strings.HasPrefix(state, class) {
			return true
		}
	}
	return false
}

// system reports whether the operating system is at a limit or its disk fails.
func system(e syscall.Errno) bool {
	switch e {
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return true
	default:
		return false
	}
}
