"""Entries of questions, as GQA has them."""


def step(operation, argument):
    return {"operation": operation, "argument": argument, "dependencies": []}


def entry(program, answer="x", structural="choose", image="1", question="what is it?"):
    types = {"structural": structural, "semantic": "attr", "detailed": "d"}
    return {"imageId": image, "question": question, "answer": answer, "types": types, "semantic": program}
