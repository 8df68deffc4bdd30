package camera

// queue is a heap of connected cameras, first due first.
type queue []*camera

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].boot.Add(q[i].wake).Before(q[j].boot.Add(q[j].wake))
}
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].heap, q[j].heap = i, j
}
func (q *queue) Push(x any) {
	c := x.(*camera)
	c.heap = len(*q)
	*q = append(*q, c)
}
func (q *queue) Pop() any {
	old := *q
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	c.heap = -1
	return c
}
