//! The computation graph of unrolled gradient descent, as a description that can be drawn.

use std::fmt::Write as _;

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `w_j`.
    Weights,
    /// `∇L̃_j = ∇L̃(w_j)`.
    Gradient,
    /// η.
    LearningRate,
    /// λ̃.
    Penalty,
    /// `L̃_k = L̃(w_k)`.
    Loss,
}

/// A value of the computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// A name in letters, digits and `_`, each once.
    pub name: String,
    pub label: String,
    pub role: Role,
    /// The operations before it on the longest way from an input.
    pub depth: usize,
}

/// The values `w_0, ∇L̃_0, w_1, …, w_k, L̃_k` with η and, where there is a penalty, λ̃, and which is computed from which. X and t are
/// constants and left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    pub nodes: Vec<Node>,
    /// From an argument to what is computed from it, as indices of nodes.
    pub edges: Vec<(usize, usize)>,
}

impl Graph {
    /// The graph of `steps` steps.
    pub fn of(steps: usize, penalized: bool) -> Self {
        let mut graph = Self { nodes: Vec::new(), edges: Vec::new() };
        let rate = graph.add("eta", "η", Role::LearningRate, &[]);
        let penalty = penalized.then(|| graph.add("lambda", "λ̃", Role::Penalty, &[]));
        let mut weights = graph.add("w_0", "w_0", Role::Weights, &[]);
        for step in 0..steps {
            let arguments: Vec<usize> = [weights].into_iter().chain(penalty).collect();
            let gradient = graph.add(&format!("gradient_{step}"), &format!("∇L̃_{step}"), Role::Gradient, &arguments);
            let next = step + 1;
            weights = graph.add(&format!("w_{next}"), &format!("w_{next}"), Role::Weights, &[weights, gradient, rate]);
        }
        let arguments: Vec<usize> = [weights].into_iter().chain(penalty).collect();
        graph.add(&format!("loss_{steps}"), &format!("L̃_{steps}"), Role::Loss, &arguments);
        graph
    }

    fn add(&mut self, name: &str, label: &str, role: Role, arguments: &[usize]) -> usize {
        let index = self.nodes.len();
        let depth = arguments.iter().map(|argument| self.nodes[*argument].depth + 1).max().unwrap_or(0);
        self.nodes.push(Node { name: name.to_owned(), label: label.to_owned(), role, depth });
        self.edges.extend(arguments.iter().map(|argument| (*argument, index)));
        index
    }

    /// The graph in the language of Graphviz.
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph unrolled {\n  rankdir=LR;\n  node [shape=ellipse];\n");
        for Node { name, label, role, .. } in &self.nodes {
            let shape = match role {
                Role::LearningRate | Role::Penalty => ", shape=box",
                Role::Loss => ", shape=doublecircle",
                Role::Weights | Role::Gradient => "",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name} [label=\"{label}\"{shape}];");
        }
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  {} -> {};", self.nodes[*from].name, self.nodes[*to].name);
        }
        text.push_str("}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_with_a_penalty_reads_as_in_a_textbook() {
        let expected = "digraph unrolled {
  rankdir=LR;
  node [shape=ellipse];
  eta [label=\"η\", shape=box];
  lambda [label=\"λ̃\", shape=box];
  w_0 [label=\"w_0\"];
  gradient_0 [label=\"∇L̃_0\"];
  w_1 [label=\"w_1\"];
  loss_1 [label=\"L̃_1\", shape=doublecircle];
  w_0 -> gradient_0;
  lambda -> gradient_0;
  w_0 -> w_1;
  gradient_0 -> w_1;
  eta -> w_1;
  w_1 -> loss_1;
  lambda -> loss_1;
}
";
        assert_eq!(Graph::of(1, true).dot(), expected);
    }

    #[test]
    fn every_step_adds_its_gradient_and_its_weights_and_edges_go_forward() {
        for steps in 0..5 {
            for penalized in [false, true] {
                let graph = Graph::of(steps, penalized);
                let penalty = usize::from(penalized);
                assert_eq!(graph.nodes.len(), 3 + 2 * steps + penalty);
                assert_eq!(graph.edges.len(), 4 * steps + 1 + penalty * (steps + 1));
                assert!(graph.edges.iter().all(|(from, to)| graph.nodes[*from].depth < graph.nodes[*to].depth));
            }
        }
    }
}
