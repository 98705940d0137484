package discover

import (
	"maps"
	"slices"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/record"
)

// eventStream is the label stream of what is told about a container and was not written
// by it.
const eventStream = "event"

// labeller makes sources of containers.
type labeller struct {
	host  string
	names []string // container_monitor.labels
}

// aliases are short names for well-known labels of containers.
func aliases() []struct{ name, label string } {
	return []struct{ name, label string }{
		{"compose_project", "com.docker.compose.project"},
		{"compose_service", "com.docker.compose.service"},
		{"compose_number", "com.docker.compose.container-number"},
		{"swarm_service", "com.docker.swarm.service.name"},
		{"swarm_task", "com.docker.swarm.task.name"},
		{"swarm_node", "com.docker.swarm.node.id"},
	}
}

// source makes the source of a container. What the agent itself sets wins over what the
// container's labels ask for; leftOut counts of the latter what had no room.
func (l labeller) source(d docker.Details, o options, canWait bool) (s *record.Source, leftOut int) {
	values := map[string]string{"image": d.Image, "container_id": docker.ShortID(d.ID)}
	for _, a := range aliases() {
		values[a.name] = d.Labels[a.label]
	}
	labels := record.Labels{{Name: "job", Value: "containers"}, {Name: "host", Value: l.host}, {Name: "container", Value: d.Name}}
	used := map[string]bool{"job": true, "host": true, "container": true, "stream": true}
	configured := map[string]bool{}
	for _, name := range l.names {
		configured[record.CleanName(name)] = true
		value, known := values[name]
		if !known {
			value = d.Labels[name]
		}
		delete(values, name)
		if clean := record.CleanName(name); value != "" && !used[clean] {
			used[clean] = true
			labels = append(labels, record.Label{Name: name, Value: value})
		}
	}
	var metadata record.Labels
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if values[name] != "" && !used[name] {
			used[name] = true
			metadata = append(metadata, record.Label{Name: name, Value: values[name]})
		}
	}
	// The room does not depend on which of the configured labels a container has, so that
	// those of one deployment all have the same set.
	room := record.MaxLabels - len(always()[:4]) - len(l.names)
	wanted := slices.Clone(o.labels)
	for i, label := range slices.Concat(wanted, o.metadata) {
		switch {
		case used[label.Name] || label.Value == "":
			continue
		case i < len(wanted) && configured[label.Name]:
			labels = append(labels, label)
		case i < len(wanted) && room > 0:
			room--
			labels = append(labels, label)
		case len(metadata) < record.MaxLabels:
			metadata = append(metadata, label)
		default:
			leftOut++
		}
		used[label.Name] = true
	}
	s = &record.Source{ID: "container:" + d.ID, Kind: "container", Name: d.Name, CanWait: canWait}
	for o, name := range map[record.Output]string{
		record.Stdout: record.Stdout.String(), record.Stderr: record.Stderr.String(), record.OutputNone: eventStream,
	} {
		own := record.Label{Name: "stream", Value: name}
		s.Streams[o] = record.NewStream(append(labels[:len(labels):len(labels)], own), metadata)
	}
	return s, leftOut
}

// same tells whether two sources say the same.
func same(a, b *record.Source) bool {
	if a == nil || b == nil || a.ID != b.ID || a.Name != b.Name || a.CanWait != b.CanWait {
		return false
	}
	for i := range a.Streams {
		if a.Streams[i].Key != b.Streams[i].Key || !slices.Equal(a.Streams[i].Metadata, b.Streams[i].Metadata) {
			return false
		}
	}
	return true
}
