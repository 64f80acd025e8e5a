package index

// RefusedError says why an engine's server does not let the service use it:
// something that waiting does not mend and an operator can. Why is for operators,
// and tells no secret.
type RefusedError struct {
	Why string
	Err error
}

func (e *RefusedError) Error() string { return e.Why + ": " + e.Err.Error() }

func (e *RefusedError) Unwrap() error { return e.Err }
