package process

// Usage is what a child and its own children take of the main memory, in bytes.
type Usage struct {
	// Anonymous is what cannot be given up; Files what is mapped from files, such
	// as weights, which the kernel counts as available all the same.
	Anonymous, Files int64
	// PIDs are the processes.
	PIDs []int
}

// Total is all of it.
func (u Usage) Total() int64 { return u.Anonymous + u.Files }
