package ledger

import "time"

// Snapshot is one census: who holds what at one moment.
type Snapshot struct {
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	// Goroutines of the whole process.
	Goroutines Goroutines `json:"goroutines"`
	// Descriptors of the whole process.
	Descriptors Descriptors `json:"descriptors"`
	Heap        Heap        `json:"heap"`
	// Held is what is open by owner and kind.
	Held []Held `json:"held"`
	// Components can be switched on and off.
	Components []ComponentState `json:"components"`
}

// Goroutines by owner. Library goroutines belong to who started them.
type Goroutines struct {
	Total int `json:"total"`
	// Expected is what the formula says now: the tasks, two for each connection of an HTTP
	// client, one for each of the server, and a few of the runtime.
	Expected int              `json:"expected"`
	Owners   []GoroutineOwner `json:"owners"`
}

// GoroutineOwner is who started goroutines.
type GoroutineOwner struct {
	// Owner is the path of a scope and the name of a task, such as
	// agent/sources/containers/readers/stream; empty: the runtime's, or nobody's.
	Owner     string `json:"owner"`
	Component string `json:"component"`
	Count     int    `json:"count"`
	// Tasks are those of them that package task started.
	Tasks    int `json:"tasks"`
	Expected int `json:"expected"`
	// Oldest is when its oldest task began.
	Oldest time.Time `json:"oldest,omitzero"`
	// Stack is the most frequent one, from its innermost function: "f < g < h".
	Stack string `json:"stack,omitempty"`
}

// Descriptors by kind.
type Descriptors struct {
	Total int `json:"total"`
	// Limit is the soft limit of the process; 0 = not known.
	Limit int `json:"limit"`
	// Kinds are json_file, log_file, engine_stream, data_dir, file, socket, pipe, epoll,
	// inotify, other. Together they are Total.
	Kinds map[string]int `json:"kinds"`
}

// Heap in bytes.
type Heap struct {
	// LiveBytes were reachable when the last collection ended.
	LiveBytes int64 `json:"live_bytes"`
	// LimitBytes is GOMEMLIMIT; 0 = none.
	LimitBytes int64 `json:"limit_bytes"`
	// BatchBytes are those of batches in flight, bounded by dispatcher.memory: load.
	BatchBytes int64 `json:"batch_bytes"`
	// Sites are the functions of ours that have the most in use, by a sampled profile.
	Sites []HeapSite `json:"sites,omitempty"`
}

// HeapSite is a function and what it allocated that is still in use.
type HeapSite struct {
	Function  string `json:"function"`
	Component string `json:"component"`
	Bytes     int64  `json:"bytes"`
}

// Held is what is open of one kind.
type Held struct {
	Owner     string `json:"owner"`
	Component string `json:"component"`
	Kind      string `json:"kind"`
	Count     int    `json:"count"`
	// Expected is what the load of the moment explains; -1 = not known.
	Expected int       `json:"expected"`
	Oldest   time.Time `json:"oldest,omitzero"`
	// Unclosed were collected by the garbage collector without being closed: a bug.
	Unclosed int64 `json:"unclosed"`
	// Endpoint is where connections lead.
	Endpoint string `json:"endpoint,omitempty"`
}

// ComponentState tells whether a component runs.
type ComponentState struct {
	Name string `json:"name"`
	// Running is false from when it is switched off.
	Running bool `json:"running"`
}
